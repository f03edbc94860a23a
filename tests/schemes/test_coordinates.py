"""What the numbers of a landmark count."""

import doctest

import numpy as np
import pytest

from kd_loss.schemes import coordinates
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("what", "left", "middle", "right"),
    [
        ("normalised", -0.5, 0.0, 0.5),
        ("unit", 0.0, 0.5, 1.0),
        ("signed", -1.0, 0.0, 1.0),
        ("pixels", -0.5, 49.5, 99.5),
        ((0, 255), 0.0, 127.5, 255.0),
        ((-3, 1), -3.0, -1.0, 1.0),
    ],
)
def test_edges_and_middle_of_a_picture(what, left, middle, right):
    scale = Coordinates.of(what, 100)
    given, own = np.array([left, middle, right]), np.array([-0.5, 0.0, 0.5])
    np.testing.assert_allclose(scale.normalised(given), own, atol=1e-12)
    np.testing.assert_allclose(scale.from_normalised(own), given, atol=1e-12)
    assert scale.is_normalised == (what == "normalised")
    assert Coordinates.of(scale) is scale


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("pixels", "need the size of the images: image_size"),
        ("unti", "unit"),
        ((1, 0), "the right edge must be greater than the left one"),
        ((0, 0), "greater"),
        ((0, float("nan")), "greater"),
        ((0, float("inf")), "greater"),
        ((0, 1, 2), "neither a name nor two numbers"),
        (5, "neither a name nor two numbers"),
        (("a", "b"), "neither a name nor two numbers"),
    ],
)
def test_an_invalid_scale_is_one_line(what, message):
    with pytest.raises(UserError, match=message) as caught:
        Coordinates.of(what)
    assert "\n" not in str(caught.value)


def test_examples():
    assert doctest.testmod(coordinates).failed == 0
