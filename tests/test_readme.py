"""What the README promises about methods from outside the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kd_loss.training.history import read_history
from kd_loss.training.options import TeacherOptions
from kd_loss.training.teacher import train_teachers

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_a_method_from_outside_the_package(data_folder, tmp_path):
    [code] = re.findall(r"```python\n(# mine\.py.*?)```", README, flags=re.DOTALL)
    assert sum(1 for line in code.splitlines() if line) <= 16
    (tmp_path / "mine.py").write_text(code)
    common = {"dataset": "synthetic", "epochs": 1, "batch_size": 8, "alpha": 0.35, "size": 32, "data": data_folder}
    runs = tmp_path / "runs"
    teacher = TeacherOptions(arch="tiny", teacher="tough", runs=runs, **common)
    train_teachers(teacher, tell=lambda _: None)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**common, "runs": runs}.items()]
    mine = ["--plugin", "mine.py", "--method", "halfway", "--set", "halfway.share=0.3"]
    subprocess.run(
        [sys.executable, "-m", "kd_loss", "train-student", *mine, *options],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, check=True,
    )  # fmt: skip
    row = read_history(runs / "synthetic" / "student-halfway" / "history.csv")[0]
    assert row["loss"] == pytest.approx(row["main"] + 0.5 * row["pull"], rel=1e-4)
