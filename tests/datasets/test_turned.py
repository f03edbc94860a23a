"""Heads that are turned a little further."""

import numpy as np
import pytest

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment
from kd_loss.datasets.turned import head_shift, turn_head, turned
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.full_head import FULL, fit_head
from kd_loss.synthetic.faces import draw_face, face_landmarks

pytestmark = pytest.mark.quick
HEAD = FULL[:, :2] * 0.1 + 60


def test_no_angle_moves_nothing():
    np.testing.assert_allclose(head_shift(fit_head(HEAD), 0.0), 0, atol=1e-9)
    image = draw_face(96, 0, 1)
    picture, points = turn_head(image, face_landmarks("w300", 96, 0, 1), 0.0)
    np.testing.assert_array_equal(picture, image)
    np.testing.assert_allclose(points, face_landmarks("w300", 96, 0, 1))


def test_the_nose_goes_where_the_head_turns_and_the_rest_less():
    right = head_shift(fit_head(HEAD), 20.0)
    assert right[30, 0] > 3
    assert abs(right[0, 0]) < right[30, 0] / 8  # the near ear lies at the axis
    assert right[45, 0] < right[30, 0]  # an eye lies nearer to the axis than the nose
    np.testing.assert_allclose(right[W300.flip_index, 0], -head_shift(fit_head(HEAD), -20.0)[:, 0], atol=1e-6)
    up = head_shift(fit_head(HEAD), 0.0, 15.0)
    assert up[30, 1] < -2
    assert abs(up[30, 0]) < 1e-6


def test_the_turned_points_are_those_of_a_turned_head():
    for yaw in (-20, 20):
        moved = HEAD + head_shift(fit_head(HEAD), yaw)
        moved[:17] = np.nan  # the far side of the jaw is the edge of the cheek then
        assert fit_head(moved).yaw == yaw


def test_the_picture_moves_with_its_points():
    image, points = np.full((120, 120, 3), 200, np.uint8), HEAD.copy()
    x, y = np.round(points[30]).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 0
    picture, moved = turn_head(image, points, 15.0)
    dark = np.argwhere(picture[..., 0] < 100).mean(axis=0)[::-1]
    np.testing.assert_allclose(dark, moved[30], atol=1.5)
    assert np.linalg.norm(moved[30] - points[30]) > 3


def test_few_points_and_heads_that_turn_away_stay():
    image = draw_face(64, 0, 0)
    few = np.full((68, 2), np.nan)
    few[:5] = 0.1
    assert turned(image, few, 10, 0, 0)[1] is few
    profile = (FULL[:, [2, 1]] * [-1, 1] / 1500).astype(np.float32)  # looks right by 90 degrees
    assert turned(image, profile, 20, 0, 0)[1] is profile
    assert turned(image, profile, -20, 0, 0)[1] is not profile


def test_the_answers_of_a_teacher_move_with_the_truth():
    image, points = draw_face(80, 0, 2), face_landmarks("w300", 80, 0, 2) / 80 - 0.5
    both = np.stack([points, points + 0.01]).astype(np.float32)
    both[0, 3] = np.nan
    options = Augmentation(**{**vars(NO_AUGMENTATION), "turn": 20.0})
    picture, moved = augment(image, both, 80, options, W300, np.random.default_rng(0))
    assert picture.shape == (80, 80, 3)
    assert np.isnan(moved[0, 3]).all()
    known = np.isfinite(moved[0, :, 0])
    np.testing.assert_allclose(moved[1][known] - moved[0][known], 0.01, atol=1e-5)
    assert np.abs(moved[0][known] - points[known]).max() > 0.01
