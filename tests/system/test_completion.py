"""Completion scripts: what bash offers at a place of the command line, and what the others hold."""

import shutil
import subprocess

import pytest

from kd_loss.cli import COMMANDS, resolve
from kd_loss.system.completion import script
from kd_loss.system.errors import UserError

COMPLETED = {name: (resolve(command.options), command.help) for name, command in COMMANDS.items()}


def offered(tmp_path, *words):
    """What bash completes the last word to."""
    file = tmp_path / "kd-loss.bash"
    file.write_text(script("bash", COMPLETED))
    lines = f"source {file}; COMP_WORDS=({' '.join(words)!s}); COMP_CWORD={len(words) - 1}; _kd_loss"
    command = ["bash", "--norc", "-c", f'{lines}; printf "%s\\n" "${{COMPREPLY[@]}}"']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_offers_commands_options_choices_and_files(tmp_path):
    (tmp_path / "photo.jpg").touch()
    assert offered(tmp_path, "kd-loss", "pred") == ["predict"]
    assert offered(tmp_path, "kd-loss", "train-student", "--batch") == ["--batch-size"]
    assert offered(tmp_path, "kd-loss", "train-student", "--head", "he") == ["heatmap"]
    assert offered(tmp_path, "kd-loss", "--quiet", "predict", "pho") == ["photo.jpg"]
    assert set(offered(tmp_path, "kd-loss", "predict", "--detector", '""')) == {
        *("finder", "haar", "yunet", "blazeface", "none")
    }


def test_the_scripts_name_every_command_and_option():
    for shell in ("bash", "zsh", "fish"):
        text = script(shell, COMPLETED)
        assert all(name in text for name in COMMANDS)
        assert "batch-size" in text
    assert script("zsh", COMPLETED).startswith("autoload")
    for shell in ("zsh", "fish"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script(shell, COMPLETED), text=True, check=True)
    with pytest.raises(UserError, match="unknown shell 'csh'"):
        script("csh", COMPLETED)
