import numpy as np
import pytest

from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.drawing import draw_landmarks, sheet

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
