"""Commands that have to run without Keras and its backends."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_without_keras(commands: Sequence[Sequence[str]], folder: Path) -> str:
    """Run commands in one new process, in the folder; returns what they print. None may import Keras or a backend."""
    code = (
        "import sys; from kd_loss.cli import execute\n"
        f"for argv in {[list(command) for command in commands]!r}:\n"
        "    execute(argv, 'kd-loss')\n"
        "assert not {'tensorflow', 'keras', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
