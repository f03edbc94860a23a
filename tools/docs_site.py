"""Hooks of MkDocs (`mkdocs.yml`): what turns the pages of `docs/`, which GitHub shows too, into the site.

- Pages from outside of `docs/` (changes, contributing, security, models, prepared data) become pages of the site.
- Links that leave `docs/` lead to those pages, or to the file in the repository.
- `<!-- commands -->` becomes the reference of every command with the table of its options, `<!-- methods -->` that of
  every registered method: made from the code, so that they cannot fall behind it.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: file of the repository -> page of the site
IMPORTED = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "data/README.md": "project/prepared-data.md",
    "models/README.md": "project/models.md",
}
#: `[text](target)` and `![text](target)`, not in code; the target without a title
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
MARKER = re.compile(r"^<!-- (commands|methods) -->$", re.MULTILINE)
#: a row of the table in `docs/python.md`, which has every command: function, command
COMMAND_ROW = re.compile(r"^\| `(\w+)` \| `([\w-]+)` \|", re.MULTILINE)
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of `docs/`."""
    from mkdocs.structure.files import File

    for source, page in IMPORTED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Fill the markers of a page and mend its links and tables."""
    uri = page.file.src_uri
    source = {made: file for file, made in IMPORTED.items()}.get(uri, f"docs/{uri}")
    repository = (config.repo_url or "").rstrip("/")
    filled = MARKER.sub(lambda found: expand(found[1]), markdown)
    parts = FENCE.split(filled)  # prose, code, prose …
    return "".join(part if i % 2 else plain_bars(relink(part, source, uri, repository)) for i, part in enumerate(parts))


def relink(text: str, source: str, uri: str, repository: str) -> str:
    """The text of a page with links as the site needs them.

    Args:
        source: the page's file, relative to the repository's root.
        uri: the page in the site, relative to `docs/`.
        repository: the repository's address.

    >>> relink("[a](../models/README.md) [b](../Dockerfile)", "docs/data.md", "data.md", "https://host/kd")
    '[a](project/models.md) [b](https://host/kd/blob/HEAD/Dockerfile)'
    >>> relink("[c](docs/pose.md#data)", "CHANGELOG.md", "project/changelog.md", "https://host/kd")
    '[c](../pose.md#data)'
    """

    def target(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        anchor = found[2] or ""
        if (ROOT / path).is_dir() and (ROOT / path / "README.md").is_file():
            path += "/README.md"
        if path in IMPORTED or path.startswith("docs/"):
            there = IMPORTED.get(path, path.removeprefix("docs/"))
            return posixpath.relpath(there, posixpath.dirname(uri) or ".") + anchor
        return f"{repository}/blob/HEAD/{path}{anchor}"

    return LINK.sub(target, text)


def plain_bars(text: str) -> str:
    r"""The text with `\|` in the code of tables as a bar: GitHub wants it escaped there, Python-Markdown does not.

    >>> plain_bars(r"| `|S - y|` | a \| b |".replace("|S", r"\|S").replace("y|", r"y\|"))
    '| `|S - y|` | a \\| b |'
    """
    code = re.compile(r"`[^`\n]+`")
    return "\n".join(
        code.sub(lambda found: found[0].replace(r"\|", "|"), line) if line.startswith("|") else line
        for line in text.split("\n")
    )


def expand(marker: str) -> str:
    """What a marker becomes, `commands` or `methods`: Markdown with blocks of mkdocstrings."""
    return commands_reference() if marker == "commands" else methods_reference()


def commands_reference() -> str:
    """The function of every command, its class of options, and these; a signature of sixty lines says less."""
    from kd_loss.cli import COMMANDS, resolve

    rows = COMMAND_ROW.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    short = "    options:\n      show_overloads: false\n      show_signature: false\n"
    blocks = []
    for function, command in rows:
        cls = resolve(COMMANDS[command].options).__name__
        blocks += [
            f"::: kd_loss.{function}\n{short}",
            f"::: kd_loss.{cls}\n{short}      heading_level: 3\n      members: false\n",
            f"The options of `kd-loss {command}`:\n\n{options_table(command)}\n",
        ]
    return "\n".join(blocks)


def options_table(command: str) -> str:
    """The options of a command as a table: keyword, default, meaning."""
    from kd_loss.cli import COMMANDS, resolve

    rows = ["| option | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(resolve(COMMANDS[command].options)):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        shown = "" if default in (None, "", []) else f"`{_plain(default)}`"
        meaning = field.metadata["help"].replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
        rows.append(f"| `{field.name}` | {shown} | {meaning} |")
    return "\n".join(rows)


def _plain(value: Any) -> str:
    return value.as_posix() if isinstance(value, Path) else repr(value)


def methods_reference() -> str:
    """A heading and the class of every registered method of this package, for mkdocstrings."""
    from kd_loss.distillation import METHODS

    options = "    options:\n      heading_level: 3\n      members: false\n"
    blocks = [
        f"## `{name}`\n\n::: {cls.__module__}.{cls.__qualname__}\n{options}"
        for name, cls in METHODS.items()
        if cls.__module__.startswith("kd_loss.")
    ]
    return "\n".join(blocks)
