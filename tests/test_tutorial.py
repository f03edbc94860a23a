"""The commands of docs/tutorial.md, one after the other; fewer cats, two epochs and a smaller backbone, for speed."""

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np

from kd_loss.cli import execute_command
from kd_loss.datasets.prepared import open_dataset

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
LATER = {"--epochs 30": "--epochs 2 --batch-size 8 --arch tiny"}


def test_the_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code.replace("CATS = 400", "CATS = 40"), "cats.py", "exec"), {})
    assert cv2.imread("cats/039.png").shape == (200, 200, 3)
    [scheme] = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    Path("cat.json").write_text(scheme)
    commands = re.findall(r"^kd-loss (.*)$", PAGE, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["prepare", "train-student", "test", "predict", "export"]
    for command in commands:
        for given, used in LATER.items():
            command = command.replace(given, used)
        name, *argv = shlex.split(command)
        execute_command(name, argv, f"kd-loss {name}")
    # the box in the last step is that of the first cat's points
    [box] = re.findall(r"--box ([\d,]+)", PAGE)
    _, *numbers = Path("cats/cats.csv").read_text().splitlines()[0].split(",")
    points = np.array(numbers, float).reshape(-1, 2)
    np.testing.assert_allclose(np.array(box.split(","), float), [*points.min(axis=0), *np.ptp(points, axis=0)], atol=1)
    split = open_dataset("cat", Path("data")).split("train")
    assert (len(split), split.landmarks.shape[1:]) == (36, (9, 2))
    # mirrored cats are cats: each point of the mean shape lies near that of its partner on the other side
    mean = split.landmarks.mean(axis=0)
    np.testing.assert_allclose(mean[split.scheme.flip_index] * [-1, 1], mean, atol=0.05)
    assert Path("data/cat/crops.png").is_file()
    assert Path("runs/cat/small/report.html").is_file()
    [face] = json.loads(Path("predictions/000.json").read_text())["faces"]
    assert len(face["landmarks"]) == 9
    assert {p.name for p in Path("runs/cat/small/export").glob("best*.*")} >= {"best-fp32.tflite", "best-fp32.onnx"}
