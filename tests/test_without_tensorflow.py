"""The main job where TensorFlow is not installed: `KERAS_BACKEND=jax` and nothing else."""

import os
import subprocess
import sys
import textwrap

import pytest

JOB = """
    import sys

    class Hide:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("tensorflow", "tensorboard", "efficientnet"):
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    sys.meta_path.insert(0, Hide())

    import cv2
    from kd_loss.cli import execute_command
    from kd_loss.datasets.prepared import open_dataset
    from pathlib import Path

    def run(line):
        name, *rest = line.split()
        execute_command(name, rest, name)

    small = "--dataset synthetic --alpha 0.35 --size 32 --epochs 1 --batch-size 8 --head pooled"
    run("prepare --dataset synthetic --size 48 --count 40")
    run(f"train-teacher {small} --role tough --arch mobileNetV2")
    run(f"train-student {small} --method srrl")
    run("test --dataset synthetic --weights runs/synthetic/student-srrl/best.h5")
    face = open_dataset("synthetic", Path("data")).split("test").images[0]
    cv2.imwrite("face.png", face[..., ::-1])
    run("predict --weights runs/synthetic/student-srrl/best.h5 --detector none face.png")
    assert not any(name.partition(".")[0] == "tensorflow" for name in sys.modules)
"""


@pytest.mark.slow
def test_the_main_job(tmp_path):
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(JOB)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs" / "synthetic" / "student-srrl" / "report.html").is_file()
    assert (tmp_path / "predictions" / "face.pts").is_file()
