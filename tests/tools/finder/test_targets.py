"""Targets against the reading of answers, and the loss by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_loss.detection.finder_format import CHANNELS, LEVELS, decode
from tools.finder.network import build_finder
from tools.finder.targets import TARGETS, FinderLoss, make_targets

SIZE = 128


def face(x, y, side, points=True):
    five = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]]) * side + [x, y]
    return np.array([x, y, side, *(five.reshape(-1) if points else [np.nan] * 10)])


def right_answer(target):
    """What a perfect network gives for a target (H, W, 30)."""
    answer = np.zeros((*target.shape[:2], CHANNELS))
    answer[..., 0] = np.where(target[..., 0] > 0, 20, -20)
    answer[..., 1:] = target[..., 4 : 3 + CHANNELS]
    return answer


@settings(deadline=None)
@given(st.floats(1, SIZE - 2), st.floats(1, SIZE - 2), st.floats(8.01, 130))
def test_the_reading_of_a_right_answer_is_the_face(x, y, side):
    answered = 0
    for level in LEVELS:
        target = make_targets(face(x, y, side)[None], np.zeros((0, 3)), level, SIZE)
        boxes, scores = decode(right_answer(target), level, 0.0)
        assert bool(len(boxes)) == (level.smallest <= side <= level.largest)
        answered += len(boxes)
        for box, score in zip(boxes, scores, strict=True):
            np.testing.assert_allclose(box, [x - side / 2, y - side / 2, side, side], atol=1e-3)
            assert score > 0.99
    assert answered


def test_a_target_by_hand():
    # side 20: of stride 8 alone; its cell starts at (40, 64), whose centre is (43.5, 67.5)
    fine, coarse = (
        make_targets(face(45.5, 66.5, 20)[None], np.array([[100.0, 20, 20]]), level, SIZE) for level in LEVELS
    )
    assert fine.shape == (16, 16, TARGETS)
    assert coarse.shape == (8, 8, TARGETS)
    assert fine[..., 0].sum() == fine[..., 2].sum() == 1
    np.testing.assert_allclose(fine[8, 5, 3:7], [20 / 32, 2 / 32, -1 / 32, np.log(20 / 32)], rtol=1e-6)
    np.testing.assert_allclose(fine[8, 5, 7:9], [(2 - 4) / 32, (-1 - 4) / 32], rtol=1e-6)  # the eye on the left
    assert fine[8, 5, 17:].all()
    assert coarse[..., 0].sum() == 0
    assert coarse[1, 6, 1] == fine[2, 12, 1] == 0  # what may be a face is not asked about
    assert fine[0, 0, 1] == 1


def test_unknown_points_are_ignored():
    target = make_targets(face(45.5, 66.5, 20, points=False)[None], np.zeros((0, 3)), LEVELS[0], SIZE)
    np.testing.assert_array_equal(target[8, 5, 17:], [1, 1, 1, *[0] * 10])
    assert np.isfinite(target).all()


def test_the_loss_by_hand():
    truth = make_targets(face(43.5, 67.5, 16)[None], np.zeros((0, 3)), LEVELS[0], SIZE)[None]
    answer = right_answer(truth[0])[None].astype(np.float32)
    loss = FinderLoss(box=2.0, points=1.0)
    assert float(loss(truth, answer)) == pytest.approx(0, abs=1e-6)
    answer[0, 8, 5, 0] = 0.0  # p = ½: (1 − ½)² · ln 2
    assert float(loss(truth, answer)) == pytest.approx(0.25 * np.log(2), rel=1e-4)
    answer[0, 8, 5, 0] = 20
    answer[0, 8, 5, 1] += 8 / 32  # half a side off: 2 · 0.5
    assert float(loss(truth, answer)) == pytest.approx(1.0, rel=1e-4)
    answer[0, 8, 5, 1] -= 8 / 32
    answer[0, 8, 5, 3] += np.log(2)  # twice the side: 2 · ln 2
    assert float(loss(truth, answer)) == pytest.approx(2 * np.log(2), rel=1e-4)
    answer[0, 8, 5, 3] -= np.log(2)
    answer[0, 8, 5, 4] += 16 / 32  # one of five points a side off
    assert float(loss(truth, answer)) == pytest.approx(0.2, rel=1e-4)


def test_ignored_cells_cost_nothing():
    truth = make_targets(np.zeros((0, 13)), np.array([[60.0, 60, 30]]), LEVELS[0], SIZE)[None]
    answer = np.full((1, 16, 16, CHANNELS), -20.0, np.float32)
    answer[0, 7, 7, 0] = 5
    assert truth[0, 7, 7, 1] == 0
    assert float(FinderLoss()(truth, answer)) == pytest.approx(0, abs=1e-4)
    truth[0, 7, 7, 1] = 1
    assert float(FinderLoss()(truth, answer)) > 1


def test_the_network_at_two_sizes():
    small, large = build_finder(64), build_finder(96)
    large.set_weights(small.get_weights())
    assert [tuple(o.shape[1:]) for o in large.outputs] == [(12, 12, CHANNELS), (6, 6, CHANNELS)]
    assert small.count_params() < 200_000
    fine, coarse = (keras.ops.convert_to_numpy(o) for o in small(np.zeros((2, 64, 64, 3), np.float32)))
    assert fine.shape == (2, 8, 8, CHANNELS)
    assert coarse.shape == (2, 4, 4, CHANNELS)
    assert fine[..., 0].max() < -2  # it starts by finding nothing
