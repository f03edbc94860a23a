"""Scripts that let a shell complete commands, options and their choices: `kd-loss --completion bash`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kd_loss.system.configuration import flags_of
from kd_loss.system.errors import choose

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
# kd-loss: source this file, or put it where the shell looks for completions
_kd_loss() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="" i words=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ "${{COMP_WORDS[i]}}" != -* ]] && {{ command="${{COMP_WORDS[i]}}"; break; }}
  done
  case "$command" in
    "") words="{commands}" ;;
{cases}
  esac
  case "$command $before" in
{choices}
    *) [[ -n "$command" && "$word" != -* ]] && words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ -z "$words" ]] && COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _kd_loss kd-loss
"""


def script(shell: str, commands: Mapping[str, tuple[type, str]]) -> str:
    """The completion script of a shell.

    Args:
        shell: one of `SHELLS`.
        commands: name -> its options class and its line of help.

    Raises:
        UserError: an unknown shell.
    """
    shell = choose(shell, SHELLS, "shell")
    if shell == "fish":
        return _fish(commands)
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    cases, choices = [], []
    for name, (cls, _) in commands.items():
        flags = flags_of(cls)
        cases.append(f'    {name}) words="{" ".join([*flags, "--quiet", "--verbose", "--help"])}" ;;')
        choices += [f'    "{name} {flag}") words="{" ".join(field)}" ;;' for flag, field in _choices(cls).items()]
    whole = _BASH.format(commands=" ".join(commands), cases="\n".join(cases), choices="\n".join(choices))
    return start + whole


def _choices(cls: type) -> dict[str, tuple[str, ...]]:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    flags = flags_of(cls)
    return {flag: fields[name].metadata["choices"] for flag, name in flags.items() if fields[name].metadata["choices"]}


def _fish(commands: Mapping[str, tuple[type, str]]) -> str:
    lines = ["# kd-loss: put this file into ~/.config/fish/completions/kd-loss.fish"]
    for name, (cls, help) in commands.items():
        lines.append(f"complete -c kd-loss -n __fish_use_subcommand -f -a {name} -d {_quoted(help)}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for flag, field in flags_of(cls).items():
            line = f"complete -c kd-loss -n '__fish_seen_subcommand_from {name}' -l {flag.lstrip('-')}"
            metadata = fields[field].metadata
            choices = f" -x -a {_quoted(' '.join(metadata['choices']))}" if metadata["choices"] else ""
            lines.append(f"{line}{choices} -d {_quoted(metadata['help'])}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
