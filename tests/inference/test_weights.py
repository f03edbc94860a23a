"""The export beside a Keras file: taken where it is of exactly that file, and opened without Keras."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_loss.export.export_command import ExportOptions, run_export
from kd_loss.inference.predict_command import PredictOptions, default_weights, make_detector, run_predict
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.weights import without_keras
from kd_loss.networks import Card, build_network, save_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network's `.h5` and the folder of its export."""
    folder = tmp_path_factory.mktemp("network")
    save_network(build_network(Card("tiny", 0.5, "w300", W300.to_dict(), 32, "student", 0.15)), folder / "best.h5")
    run_export(ExportOptions(weights=str(folder / "best.h5"), data=folder))
    return folder


def test_the_export_of_the_same_file(exported, monkeypatch):
    weights, export = exported / "best.h5", exported / "export" / "best-fp32.tflite"
    assert without_keras(weights) == export
    assert without_keras(export) == export
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert without_keras(weights) == weights


def test_the_export_of_another_file_is_left_alone(exported, tmp_path):
    weights = tmp_path / "best.h5"
    assert without_keras(weights) == weights  # there is none
    weights.write_bytes((exported / "best.h5").read_bytes())
    beside = tmp_path / "best.tflite"
    beside.write_bytes((exported / "export" / "best-fp32.tflite").read_bytes())
    assert without_keras(weights) == beside
    weights.write_bytes(weights.read_bytes() + b" ")  # trained on
    assert without_keras(weights) == weights
    beside.write_bytes(b"damaged")
    assert without_keras(weights) == weights


JOB = """
    import sys

    class Hide:
        def find_spec(self, name, path=None, target=None):
            assert name.partition(".")[0] not in ("keras", "tensorflow", "jax", "matplotlib", "sklearn"), name

    sys.meta_path.insert(0, Hide())
    from kd_loss.cli import execute_command

    execute_command("predict", ["face.png", *sys.argv[1:]], "predict")
"""


def test_the_shipped_student_never_waits_for_keras(tmp_path):
    """From the command line on, with the shipped finder, on a picture without a face."""
    cv2.imwrite(str(tmp_path / "face.png"), np.full((400, 640, 3), 180, np.uint8))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(JOB), "--weights", str(Path(default_weights()).resolve())],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "no face" in done.stdout
    assert (tmp_path / "predictions" / "face.json").is_file()


def test_the_shipped_student_of_a_number_of_points():
    assert Path(default_weights(68)).name == "student_w300.h5"
    assert Path(default_weights(98)).name == "student_wflw.h5"
    assert Path(default_weights(29)).name == "student_cofw.h5"
    with pytest.raises(UserError, match="no shipped student has 5 points; there are 68, 98, 29"):
        default_weights(5)


def test_a_shipped_student_by_its_name(tmp_path):
    assert (LandmarkPredictor.load("student_w300_tiny").card.size, LandmarkPredictor.load().card.size) == (112, 128)
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), 180, np.uint8))
    options = PredictOptions(sources=[str(tmp_path / "wall.png")], output=tmp_path / "out")
    assert run_predict(dataclasses.replace(options, weights="student_w300_tiny")) == []
    written = json.loads((tmp_path / "out" / "wall.json").read_text())["weights"]
    assert Path(written).name == "student_w300_tiny.h5"
    with pytest.raises(UserError, match="no such weights: student_w301"):
        run_predict(dataclasses.replace(options, weights="student_w301"))
    with pytest.raises(UserError, match="no such weights: student_w301"):
        LandmarkPredictor.load("student_w301")


def test_the_shipped_student_under_the_mit_licence():
    assert Path(default_weights(free=True)).name == "student_free.h5"
    predictor = LandmarkPredictor.load(free=True)
    assert predictor.card.license == "MIT"
    assert type(predictor.detector).__name__ == "HaarDetector"  # the finder learned from photographs for research only
    assert type(LandmarkPredictor.load(free=True, detector="finder").detector).__name__ == "FinderDetector"
    with pytest.raises(UserError, match="no student under the MIT licence has 98 points; there is one of 68"):
        default_weights(98, free=True)
    with pytest.raises(UserError, match="free chooses a shipped student; give it without a path"):
        LandmarkPredictor.load(default_weights(), free=True)


def test_predict_free(tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((64, 64, 3), 180, np.uint8))
    sources, output = [str(tmp_path / "wall.png")], tmp_path / "out"
    assert run_predict(PredictOptions(sources=sources, free=True, output=output)) == []
    assert Path(json.loads((output / "wall.json").read_text())["weights"]).name == "student_free.h5"
    assert type(make_detector(PredictOptions(sources=sources, free=True), 0.15)).__name__ == "HaarDetector"
    asked = PredictOptions(sources=sources, free=True, detector="finder")
    assert type(make_detector(asked, 0.15)).__name__ == "FinderDetector"
    with pytest.raises(UserError, match="--free chooses a shipped student; remove --weights, or --free"):
        run_predict(PredictOptions(sources=sources, free=True, weights=default_weights(), output=output))
