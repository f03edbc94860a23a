"""Drawn occluders: what they cover is known."""

import numpy as np
import pytest

from kd_loss.datasets.occluders import SHAPES, cover, covered_points
from kd_loss.synthetic.faces import draw_face, face_landmarks

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("kind", SHAPES)
def test_the_picture_changes_where_it_is_covered_and_only_near_it(kind):
    image, points = draw_face(96, 0, 3), face_landmarks("w300", 96, 0, 3)
    drawn, covered = cover(image, points, np.random.default_rng(1), kind)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    changed = (drawn != image).any(axis=2)
    assert covered.any()
    assert changed[covered].mean() > 0.9
    assert changed[~covered].mean() < 0.1


def test_a_mask_covers_the_mouth_and_no_eye():
    points = face_landmarks("w300", 128, 0, 5)
    for seed in range(5):
        _, covered = cover(draw_face(128, 0, 5), points, np.random.default_rng(seed), "mask")
        hidden = covered_points(points, covered)
        assert hidden[48:68].all()
        assert not hidden[36:48].any()


def test_glasses_cover_the_eyes_and_no_mouth():
    points = face_landmarks("w300", 128, 0, 5)
    _, covered = cover(draw_face(128, 0, 5), points, np.random.default_rng(0), "glasses")
    hidden = covered_points(points, covered)
    assert hidden[36:48].all()
    assert not hidden[48:].any()


def test_other_schemes_and_unknown_points_get_shapes_too():
    image = draw_face(64, 0, 0)
    points = np.array([[20.0, 20], [44, 20], [np.nan, np.nan], [32, 50]])
    for kind in SHAPES:
        assert cover(image, points, np.random.default_rng(0), kind)[1].any()


def test_points_under_a_mask_by_hand():
    covered = np.zeros((10, 10), bool)
    covered[4:8, 2:5] = True
    points = np.array([[2.0, 4.0], [5.4, 4.0], [4.4, 7.4], [np.nan, np.nan], [-3.0, 5.0], [4.0, 12.0]])
    assert covered_points(points, covered).tolist() == [True, False, True, False, False, False]
