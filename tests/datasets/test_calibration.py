"""What `prepare` measures of a scheme's place in a detector's box."""

import numpy as np
import pytest

from kd_loss.archives.sample import Sample
from kd_loss.archives.synthetic import draw_archive
from kd_loss.datasets.prepare_command import PrepareOptions, calibration_line, measure_calibration, run_prepare
from kd_loss.detection import Detection
from kd_loss.imaging.pictures import BadSample
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@pytest.fixture
def middle(monkeypatch):
    """A detector that says that a face fills the middle half of every picture."""

    def open_detector(*_, **__):
        return lambda image: [Detection((image.shape[1] / 4, image.shape[0] / 4, *[image.shape[0] / 2] * 2), 1.0)]

    monkeypatch.setattr("kd_loss.detection.factory.open_detector", open_detector)


@pytest.mark.usefixtures("middle")
def test_it_reaches_the_manifest(tmp_path, capsys):
    manifest = run_prepare(PrepareOptions(dataset="synthetic_cofw", count=12, size=48, data=tmp_path))
    samples = [s for s in draw_archive("synthetic_cofw", 12, 48, 0.15, 0).samples if s.split == "train"]
    side = samples[0].load().shape[0]
    sides = [np.ptp(s.landmarks, axis=0).max() / (side / 2) for s in samples]
    calibration = manifest["calibration"]
    assert calibration["detector"] == "finder"
    assert calibration["faces"] == calibration["looked"] == 12
    assert calibration["side"] == pytest.approx(np.mean(sides), abs=1e-4)
    assert calibration["spread"][2] == pytest.approx(np.std(sides), abs=1e-4)
    assert f"landmark box: {calibration['side']:.2f} of the finder's box" in capsys.readouterr().out


def test_the_cascade_where_the_finder_is_absent(monkeypatch):
    def absent(name, *_, **__):
        if name == "finder":
            raise UserError("there is no finder here")
        return lambda image: [Detection((10, 10, 40, 40), 1.0)]

    monkeypatch.setattr("kd_loss.detection.factory.open_detector", absent)
    points = np.array([[20.0, 20], [40, 40]])
    samples = [Sample(str(i), points, "train", "", "", lambda: np.zeros((60, 60, 3), np.uint8)) for i in range(9)]
    assert measure_calibration(samples) == {
        "detector": "haar", "looked": 9, "x": 0.0, "y": 0.0, "side": 0.5, "faces": 9, "spread": [0.0, 0.0, 0.0],
    }  # fmt: skip


def test_what_cannot_be_measured_is_empty(monkeypatch):
    monkeypatch.setattr("kd_loss.detection.factory.open_detector", lambda *_, **__: lambda image: [])
    points = np.array([[20.0, 20], [40, 40]])
    samples = [Sample(str(i), points, "train", "", "", lambda: np.zeros((60, 60, 3), np.uint8)) for i in range(9)]
    assert measure_calibration(samples) == {}
    assert "--detector none" in calibration_line({})

    def broken():
        raise BadSample("is gone")

    assert measure_calibration([Sample("a", points, "train", "", "", broken)]) == {}
