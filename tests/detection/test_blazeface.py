"""BlazeFace's anchors and answers; its file is not at hand here."""

import numpy as np
import pytest

from kd_loss.detection import DETECTORS, open_detector
from kd_loss.detection.base import merge_boxes
from kd_loss.detection.blazeface import CALIBRATION, anchors, read_answers
from kd_loss.system.errors import UserError


def test_anchors():
    short = anchors(128)
    assert short.shape == (896, 2)
    # two in each of 16 × 16 cells, row by row, then six in each of 8 × 8
    np.testing.assert_allclose(short[:3], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]])
    np.testing.assert_allclose(short[[511, 512, 518]], [[31 / 32, 31 / 32], [1 / 16, 1 / 16], [3 / 16, 1 / 16]])
    assert anchors(192).shape == (48 * 48, 2)


def test_answers_by_hand():
    boxes, logits = np.zeros((896, 16)), np.full(896, -100.0)
    # the anchor at (4, 4) of 128 pixels says: 10 to the right, 6 down, 20 wide and high; in a picture twice as large
    boxes[0, :4], logits[0] = [10, 6, 20, 20], 0.0
    boxes[1, :4], logits[1] = [10, 6, 20, 20], -5.0
    [face] = read_answers(boxes, logits, 128, 0.5, 2.0)
    down, longer = CALIBRATION[128]
    side = longer * 40
    np.testing.assert_allclose(face.box, (28 - 0.5 - side / 2, 20 + down * 40 - 0.5 - side / 2, side, side))
    assert face.score == 0.5


def test_answers_about_one_face_are_blended():
    boxes = np.array([[0.0, 0, 10, 10], [2, 0, 10, 10], [50, 0, 10, 10]])
    (first, best), (second, other) = merge_boxes(boxes, np.array([0.6, 0.2, 0.5]), 0.3)
    np.testing.assert_allclose(first, [0.5, 0, 10, 10])  # (0.6 · 0 + 0.2 · 2) / 0.8
    np.testing.assert_allclose(second, [50, 0, 10, 10])
    assert (best, other) == (0.6, 0.5)


@pytest.mark.parametrize("name", ["yunet", "blazeface"])
def test_where_the_file_comes_from(name):
    source = {"yunet": "opencv_zoo", "blazeface": "wheel of mediapipe"}[name]
    with pytest.raises(UserError, match=f"--detector {name} needs --detector-model FILE: .*{source}"):
        open_detector(name)


def test_an_invalid_detector(tmp_path):
    assert DETECTORS == ("finder", "haar", "yunet", "blazeface", "none")
    with pytest.raises(UserError, match="detector"):
        open_detector("hare")
    with pytest.raises(UserError, match="no such detector model: nowhere"):
        open_detector("blazeface", "nowhere")
    (tmp_path / "no.tflite").write_bytes(b"TFL3 but no more")
    with pytest.raises(UserError, match=r"no\.tflite"):
        open_detector("blazeface", str(tmp_path / "no.tflite"))
    with pytest.raises(UserError, match="--min-score 1.5"):
        open_detector("finder", min_score=1.5)
    with pytest.raises(UserError, match="--smallest is for the finder"):
        open_detector("haar", smallest=20)
    with pytest.raises(UserError, match="--smallest 3 is not a face size"):
        open_detector("finder", smallest=3)
