"""Random warps: the derivative against finite differences, pictures read at places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kd_loss.keypoints.warp import draw_warps, sample, warp_images, warp_jacobian, warp_points
from kd_loss.networks.keypoint_detector import places


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-0.97, 0.97), st.floats(-0.97, 0.97))
def test_derivative_agrees_with_finite_differences(seed, x, y):
    affine, plate = draw_warps(np.random.default_rng(seed), 2)
    plate = 20 * plate  # so that what is not affine counts
    step = 5e-3
    points = np.array([[x, y], [x + step, y], [x - step, y], [x, y + step], [x, y - step]], np.float32)
    moved = ops.convert_to_numpy(warp_points(affine, plate, np.stack([points, points])))
    slopes = np.stack([moved[:, 1] - moved[:, 2], moved[:, 3] - moved[:, 4]], axis=-1) / (2 * step)
    closed = ops.convert_to_numpy(warp_jacobian(affine, plate, np.stack([points[:1]] * 2)))[:, 0]
    assert closed == pytest.approx(slopes, abs=4e-3)


def test_a_plate_of_one_weight_by_hand():
    """U(1) = 0 and U(2) = 4 log 2, about the control point in the middle."""
    plate = np.zeros((1, 25, 2), np.float32)
    plate[0, 12] = 0.5, -1.0
    affine = np.array([[[1, 0, 0.25], [0, 2, 0]]], np.float32)
    points = np.array([[[1, 0], [0, 2], [0, 0]]], np.float32)
    moved = ops.convert_to_numpy(warp_points(affine, plate, points))[0]
    bend = 4 * np.log(2)
    assert moved == pytest.approx(np.array([[1.25, 0], [0.25 + 0.5 * bend, 4 - bend], [0.25, 0]]), abs=1e-5)


def test_warps_have_the_published_deviations():
    affine, plate = draw_warps(np.random.default_rng(0), 4000)
    assert (affine - np.eye(2, 3)).std() == pytest.approx(0.05, rel=0.02)
    assert plate.std() == pytest.approx(0.005, rel=0.02)


def test_sample_reads_between_pixels_and_keeps_to_the_border():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    at = np.array([[[-1, -1], [1, 1], [0, 0], [1 / 3, -1], [5, -3]]], np.float32)
    read = ops.convert_to_numpy(sample(ops.convert_to_tensor(image), at))[0, :, 0]
    assert read == pytest.approx([0, 11, 5.5, 2, 3], abs=1e-4)


def test_a_warped_picture_shows_at_p_what_was_at_t_of_p():
    affine = np.array([[[1, 0, 2 / 7], [0, 1, 0]]], np.float32)  # one pixel of eight to the right
    image = np.random.default_rng(0).uniform(0, 1, (1, 8, 8, 3)).astype(np.float32)
    warped = ops.convert_to_numpy(warp_images(affine, np.zeros((1, 25, 2), np.float32), image))
    assert warped[:, :, :-1] == pytest.approx(image[:, :, 1:], abs=1e-4)
    still = ops.convert_to_numpy(sample(image, places(8, 8)[None]))
    assert still.reshape(image.shape) == pytest.approx(image, abs=1e-4)
