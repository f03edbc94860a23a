"""The examples of docs/without-kd-loss.md find what this package finds."""

import re
from pathlib import Path

import numpy as np
import pytest

from kd_loss.export.export_command import ExportOptions, run_export
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.networks import Card, build_network, save_network
from kd_loss.schemes.benchmarks import W300

PAGE = (Path(__file__).parents[2] / "docs" / "without-kd-loss.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module", params=["pooled", "heatmap"])
def folder(request, tmp_path_factory, data_folder, synthetic):
    folder = tmp_path_factory.mktemp(request.param)
    mean = synthetic.split("train").landmarks.mean(axis=0)
    card = Card("tiny", 1.0, "synthetic", W300.to_dict(), 48, "student", 0.15, head=request.param)
    save_network(build_network(card, mean_shape=mean), folder / "student.h5")
    options = ExportOptions(
        weights=str(folder / "student.h5"), format=["onnx", "litert"], precision=["fp32", "int8"], tolerance=5.0,
        data=data_folder, output=str(folder), calibration=16,
    )  # fmt: skip
    run_export(options)
    return folder


def test_the_examples(folder, synthetic, monkeypatch):
    monkeypatch.chdir(folder)
    image, box = synthetic.split("test").crop(0), (4.0, 3.0, 37.0, 40.0)
    names = {"image": image, "box": box}
    exec(CODE[0], names)
    for code, file in zip(CODE[1:], ("student-fp32.onnx", "student-fp32.tflite", "student-int8.tflite"), strict=True):
        exec(code, names)
        expected = LandmarkPredictor.load(file).predict_crop(image, box).landmarks
        np.testing.assert_allclose(names["landmarks"], expected, atol=1e-3, err_msg=file)
