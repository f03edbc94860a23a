"""Figures of head poses, by hand."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from kd_loss.evaluation.pose_content import beside_theirs
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.imaging.rotations import from_angles, to_vectors
from kd_loss.schemes.pose import PoseScheme


def poses(*rows):
    """Raw poses from yaw, pitch, roll, x, y, log depth."""
    return np.stack([np.stack([to_vectors(from_angles(*row[:3])), row[3:]]) for row in np.array(rows, float)])


@pytest.fixture
def result():
    truth = poses((0, 0, 0, 0, 0, 0), (40, 0, 0, 0, 0, np.log(2)), (-70, 0, 0, 0, 0, 0))
    predicted = poses((3, 0, 0, 0.1, 0, 0), (40, -5, 0, 0, 0, np.log(2)), (-70, 0, 12, 0, 0, np.log(1.5)))
    scheme = PoseScheme("own")
    rows = {**scheme.rows(truth), "full": np.arange(3)}
    return PoseResult("net", "net.h5", {}, SimpleNamespace(rows=lambda: rows), scheme, predicted, truth)


def test_errors_of_angles(result):
    np.testing.assert_allclose(result.values, [3, 5, 12], atol=1e-9)
    np.testing.assert_allclose(result.angles, [[3, 0, 0], [0, 5, 0], [0, 0, 12]], atol=1e-9)
    # their first angle is turned about last: a nod of a head that has turned is not a nod alone
    assert result.angles_300wlp[1] == pytest.approx([0.15, 6.5, 4.2], abs=0.1)
    np.testing.assert_allclose(result.angles_300wlp[[0, 2]], [[3, 0, 0], [0, 0, 12]], atol=1e-9)


def test_places_in_head_widths(result):
    """A head one crop wide stands 4 widths away: a tenth of the crop aside is 0.1; half as far again is 2."""
    np.testing.assert_allclose(result.position, [[0.1, 0.1], [0, 0], [2, 0]], atol=1e-12)


def test_rows_and_summary(result):
    scores = result.scores()
    assert {row: score.mean for row, score in scores.items()} == pytest.approx(
        {"yaw 0–30": 3, "yaw 30–60": 5, "yaw 60–99": 12, "full": 20 / 3}
    )
    assert scores["full"].fr_10 == pytest.approx(100 / 3)
    assert scores["full"].auc_10 == pytest.approx((0.7 + 0.5 + 0) / 3)
    assert result.more() == pytest.approx({"yaw": 1, "pitch": 5 / 3, "roll": 4, "position": 0.7})
    summary = result.summary()["scores"]["yaw 60–99"]
    assert (summary["roll"], summary["position_in_head_widths"]) == pytest.approx((12, 2))
    assert dataclasses.replace(result, predicted=result.truth).values.max() < 1e-6


def test_faces_that_the_usual_tables_leave_out():
    """Any angle beyond ±99 degrees leaves a face out, here a roll."""
    truth = poses((80, 0, 0, 0, 0, 0), (0, 0, 120, 0, 0, 0), (0, 10, 0, 0, 0, 0))
    result = PoseResult("net", "net.h5", {}, SimpleNamespace(), PoseScheme("own"), truth, truth)
    assert result.within_limit.tolist() == [True, False, True]
    assert "ray" in beside_theirs("pose_biwi")
    assert "ray" not in beside_theirs("pose_aflw2000")
