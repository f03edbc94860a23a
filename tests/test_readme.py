"""What the documentation promises about methods from outside the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kd_loss.runs.history import read_history
from kd_loss.training.options import TeacherOptions
from kd_loss.training.train_teachers import train_teachers

ROOT = Path(__file__).parents[1]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_method_from_outside_the_package(data_folder, tmp_path):
    [code] = re.findall(r"```python\n(# mine\.py.*?)```", METHODS, flags=re.DOTALL)
    assert sum(1 for line in code.splitlines() if line) <= 16
    (tmp_path / "mine.py").write_text(code)
    [more] = re.findall(r"```python\n(# agree\.py.*?)```", METHODS, re.DOTALL)
    (tmp_path / "agree.py").write_text(more)
    common = {"dataset": "synthetic", "epochs": 1, "batch_size": 8, "alpha": 0.35, "size": 32, "data": data_folder}
    runs = tmp_path / "runs"
    train_teachers(TeacherOptions(arch="tiny", runs=runs, **common))
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**common, "runs": runs}.items()]
    mine = ["--plugin", "mine.py", "agree.py", "--method", "halfway", "agree:0.5", "--method-arg", "halfway.share=0.3"]
    mine += ["agree.hint=0.1"]
    subprocess.run(
        [sys.executable, "-m", "kd_loss", "train-student", *mine, *options],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    row = read_history(next((runs / "synthetic").glob("student-*")) / "history.csv")[0]
    whole = row["halfway.main"] + 0.5 * row["halfway.pull"] + 0.5 * (row["agree.main"] + 0.1 * row["agree.hint"])
    assert row["loss"] == pytest.approx(whole, rel=1e-4)
