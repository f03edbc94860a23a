"""The stub of `kd_loss.api` is that of today's options, and type checkers read it."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from tools import stubs

ROOT = Path(__file__).parents[2]
CALLS = {
    "kd_loss.train_student(epochs=3, method=['kd_loss'], runs='out').name": "",
    "kd_loss.train_student(kd_loss.StudentOptions(epochs=3)).name": "",
    "kd_loss.predict('photo.jpg')[0].landmarks": "",
    "kd_loss.train_student(epochs='x')": "call-overload",
    "kd_loss.train_student(epoch=3)": 'did you mean "epochs"?',
    "kd_loss.train_student(kd_loss.TeacherOptions())": "call-overload",
    "kd_loss.show(split='validation')": "call-overload",
    "kd_loss.StudentOptions(epochs='x')": "arg-type",
}


@pytest.mark.quick
def test_the_stub_is_up_to_date():
    assert stubs.STUB.read_text(encoding="utf-8") == stubs.stub(), "python -m tools.stubs"


@pytest.mark.quick
def test_examples():
    assert doctest.testmod(stubs).failed == 0


@pytest.mark.slow
def test_mypy_checks_the_options(tmp_path):
    """A line of a file for each call; mypy says nothing about those that are right."""
    file = tmp_path / "calls.py"
    file.write_text("\n".join(["import kd_loss", *CALLS]) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--follow-imports=silent", str(file)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    said = dict.fromkeys(range(2, len(CALLS) + 2), "")
    for line in done.stdout.splitlines():
        if ": error: " in line:
            said[int(line.split(":")[1])] += line
    for number, (call, error) in enumerate(CALLS.items(), start=2):
        assert error in said[number], done.stdout
        assert bool(error) == bool(said[number]), f"{call}: {done.stdout}"
