import numpy as np
import pytest

from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.drawing import AXES, PREDICTED, UNSURE, draw_landmarks, sheet

pytestmark = pytest.mark.quick

POINTS = np.random.default_rng(0).uniform(-0.3, 0.3, (68, 2))


def test_drawing_leaves_the_picture_alone():
    image = np.zeros((80, 80, 3), np.uint8)
    drawn = draw_landmarks(image, POINTS * 80 + 40, W300)
    assert drawn.any()
    assert not image.any()


def test_sheet():
    pictures = [np.full((4, 6, 3), i, np.uint8) for i in range(3)]
    assert sheet(pictures, 2).shape == (8, 12, 3)


def test_a_small_face_is_not_buried():
    """On 20 px the points are half transparent pixels, on 30 opaque ones, both framed; on 300 px discs and lines."""
    image = np.full((400, 400, 3), 100, np.uint8)
    for extent, most in ((20, 68), (30, 68), (300, image.size)):
        points = POINTS / np.ptp(POINTS, axis=0).max() * extent + 200
        drawn = draw_landmarks(image, points, W300)
        (x0, y0), (x1, y1) = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
        inside = slice(y0 + 1, y1), slice(x0 + 1, x1)
        changed = (drawn != image).any(axis=2)
        assert 0 < changed[inside].sum() <= most
        assert (drawn[inside] == PREDICTED).all(axis=2).any() == (extent > 20)
        framed = changed[y0 - 2 : y1 + 3, (x0 + x1) // 2]
        assert (framed[[0, -1]].any() or framed[[1, -2]].any()) == (extent < 300)
    outside = draw_landmarks(image, POINTS * 40 - 5, W300)  # points beyond the edge are left out
    assert (outside != image).any(axis=2).sum() < 3 * 68


def test_no_axis_of_a_pose_has_the_colour_of_landmarks():
    for _, colour in AXES:
        assert min(np.abs(np.subtract(colour, other)).sum() for other in (PREDICTED, UNSURE)) > 100
