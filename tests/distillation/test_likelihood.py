"""The likelihood of the truth under heatmaps, on numbers that one can check by hand."""

import keras
import numpy as np
import pytest

from kd_loss.distillation import get_method
from kd_loss.networks.heads import grid
from kd_loss.system.errors import UserError

SIDE = 8


def terms(maps, landmarks, truth, **parameters):
    student = {"heatmaps": np.float32(maps), "landmarks": np.float32(landmarks)}
    values = get_method("likelihood", parameters).terms(np.float32(truth), student, {})
    return {name: keras.ops.convert_to_numpy(value) for name, value in values.items()}


def test_a_flat_map_has_no_confidence():
    found = terms(np.zeros((1, SIDE, SIDE, 2)), np.zeros((1, 2, 2)), np.full((1, 2, 2), 0.1))
    assert found["main"] == pytest.approx([0.1])
    assert found["likelihood"] == pytest.approx([np.log(SIDE * SIDE)], rel=1e-5)


def test_a_map_as_wide_as_the_errors_is_the_best():
    """Truths that lie about a map's middle by 0.1: neither a narrow map nor a wide one is as likely."""
    places, rng = grid(SIDE, SIDE), np.random.default_rng(0)
    truth = rng.normal(0, 0.1, (400, 1, 2))
    values = {}
    for width in (0.05, 0.1, 0.3):
        maps = -np.square(places).sum(axis=1) / (2 * width**2)
        maps = np.broadcast_to(maps.reshape(1, SIDE, SIDE, 1), (400, SIDE, SIDE, 1))
        values[width] = terms(maps, np.zeros((400, 1, 2)), truth, sigma=0.001)["likelihood"].mean()
    assert min(values, key=values.get) == 0.1


def test_a_point_that_is_not_annotated_takes_no_part():
    maps = np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 2))
    landmarks, truth = np.zeros((1, 2, 2)), np.array([[[0.1, 0.0], [0.0, 0.0]]])
    both = terms(maps, landmarks, truth)["likelihood"]  # the second truth is the student's own answer
    alone = terms(maps[..., :1], landmarks[:, :1], truth[:, :1])["likelihood"]
    assert both == pytest.approx(alone / 2, rel=1e-5)


def test_no_width():
    with pytest.raises(UserError, match="likelihood.sigma = 0.0 is not positive"):
        get_method("likelihood", {"sigma": 0.0})
