import numpy as np
import pytest

from kd_loss.imaging.rotations import from_angles, geodesic, to_angles
from kd_loss.inference.smoothing import OneEuroFilter, RotationFilter

pytestmark = pytest.mark.quick

FACE = np.array([[0.0, 0.0], [100.0, 0.0], [50.0, 100.0]])


def test_a_still_face_stays():
    smooth = OneEuroFilter(1.0, 25)
    for _ in range(5):
        np.testing.assert_allclose(smooth(FACE), FACE)


def test_one_step_by_hand():
    """Without beta the filter is a first-order low-pass: the share of the new value is 1 / (1 + 25 / (2 π 1))."""
    smooth = OneEuroFilter(1.0, 25, beta=0)
    smooth(FACE)
    share = 1 / (1 + 25 / (2 * np.pi))
    np.testing.assert_allclose(smooth(FACE + 10), FACE + 10 * share)


def test_a_longer_step_by_hand():
    """200 ms since the frame before, whatever the rate: 1 / (1 + 5 / (2 π 1))."""
    smooth = OneEuroFilter(1.0, 25, beta=0)
    smooth(FACE)
    np.testing.assert_allclose(smooth(FACE + 10, 0.2), FACE + 10 / (1 + 5 / (2 * np.pi)))
    turned = RotationFilter(1.0, 25)
    turned(np.eye(3), np.zeros(2), 10.0)
    rotation, middle, width = turned(np.eye(3), np.zeros(2), 10.0, 0.2)
    np.testing.assert_allclose([*rotation.ravel(), *middle, width], [*np.eye(3).ravel(), 0, 0, 10], atol=1e-9)


def test_noise_shrinks_and_movement_is_followed():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (200, 3, 2))
    smooth = OneEuroFilter(1.0, 25)
    still = np.array([smooth(FACE + n) for n in noise])
    assert np.diff(still, axis=0).std() < 0.5 * np.diff(noise, axis=0).std()
    smooth = OneEuroFilter(1.0, 25)
    fast = [smooth(FACE + [4.0 * i, 0])[0, 0] for i in range(50)]  # a face side a second
    assert 4.0 * 49 - fast[-1] < 8  # less than two frames behind
    slow = OneEuroFilter(1.0, 25, beta=0)
    assert 4.0 * 49 - [slow(FACE + [4.0 * i, 0])[0, 0] for i in range(50)][-1] > 12


@pytest.mark.parametrize("factor", [0.1, 10])
def test_the_size_of_the_face_does_not_matter(factor):
    one, other = OneEuroFilter(1.0, 25), OneEuroFilter(1.0, 25)
    for i in range(10):
        moved = FACE + [3.0 * i, i * i]
        np.testing.assert_allclose(other(factor * moved), factor * one(moved))


def test_a_rotation_is_smoothed_along_the_arc():
    """A head at rest that trembles by a degree trembles less; one that turns past 180 degrees of roll does not jump."""
    still = RotationFilter(1.0, 25.0)
    angles = [1.0 if frame % 2 else -1.0 for frame in range(40)]
    rolls = [to_angles(still(from_angles(0, 0, a), np.array([10.0, 20]), 40.0)[0])[2] for a in angles]
    assert rolls[0] == pytest.approx(-1)
    assert np.ptp(rolls[20:]) < 0.7
    turning = RotationFilter(1.0, 25.0)
    given = [from_angles(0, 0, 150 + 2 * frame) for frame in range(30)]
    found = [turning(matrix, np.array([10.0, 20]), 40.0) for matrix in given]
    late = [geodesic(a, b) for a, (b, *_) in zip(given, found, strict=True)]
    assert max(late) < 20
    np.testing.assert_allclose(found[-1][1], [10, 20])
    assert found[-1][2] == pytest.approx(40)
