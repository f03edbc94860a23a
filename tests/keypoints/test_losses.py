"""The losses, by hand."""

import numpy as np
import pytest
from keras import ops

from kd_loss.distillation.keypoints import attention_term, heatmap_term
from kd_loss.keypoints import losses
from kd_loss.keypoints.motion import drawn, sparse_motion
from kd_loss.keypoints.warp import draw_warps, warp_jacobian, warp_points


def number(value):
    return ops.convert_to_numpy(value)


def test_inverse():
    matrices = np.random.default_rng(0).normal(0, 1, (5, 3, 2, 2)).astype(np.float32)
    assert number(losses.inverse(matrices)) == pytest.approx(np.linalg.inv(matrices), rel=1e-3, abs=1e-3)
    assert np.isfinite(number(losses.inverse(np.zeros((1, 2, 2), np.float32)))).all()


def test_an_equivariant_detector_has_no_loss():
    """kp(D) = T(kp(T∘D)) and J_D = ∂T · J_{T∘D}."""
    rng = np.random.default_rng(0)
    affine, plate = draw_warps(rng, 3)
    warped = rng.uniform(-0.9, 0.9, (3, 5, 2)).astype(np.float32)
    slopes = (np.eye(2) + rng.normal(0, 0.2, (3, 5, 2, 2))).astype(np.float32)
    keypoints = number(warp_points(affine, plate, warped))
    assert number(losses.equivariance_value(affine, plate, keypoints, warped)) == pytest.approx(0, abs=1e-6)
    carried = number(warp_jacobian(affine, plate, warped)) @ slopes
    assert number(losses.equivariance_jacobian(affine, plate, carried, slopes, warped)) == pytest.approx(0, abs=1e-4)
    # and half of a detector that says 2 J: |I − J⁻¹·J/2| = 1/2 on the diagonal
    halved = number(losses.equivariance_jacobian(affine, plate, 2 * carried, slopes, warped))
    assert halved == pytest.approx(0.25, abs=1e-4)
    assert number(losses.equivariance_value(affine, plate, keypoints + [0.1, 0], warped)) == pytest.approx(
        0.05, abs=1e-5
    )


def test_pyramid():
    """A chequered difference of ±1 is 1 in the first level and nothing from the second on."""
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 2.0 - 1)[None, :, :, None].astype(np.float32)
    assert number(losses.pyramid_l1(board, np.zeros_like(board))) == pytest.approx([1 / 4])
    assert number(losses.pyramid_l1(np.full_like(board, 0.5), np.zeros_like(board))) == pytest.approx([0.5])
    assert number(losses.feature_l1([board * 0.5], [board])) == pytest.approx([0.5], abs=1e-3)


def test_value_and_slope():
    teacher = {"keypoints": np.zeros((1, 10, 2), np.float32), "jacobians": np.zeros((1, 10, 2, 2), np.float32)}
    student = {"keypoints": teacher["keypoints"] + 0.1, "jacobians": teacher["jacobians"] + 0.5}
    assert number(losses.value_and_slope(student, teacher)) == pytest.approx([0.01 + 0.25])
    assert number(losses.average_keypoint_distance(student["keypoints"], teacher["keypoints"])) == pytest.approx(
        [0.1 * np.sqrt(2)]
    )


def test_heatmaps_of_two_cells_in_both_readings():
    """All of the mass in one cell of 58² against all of it in another: 2 as a sum, 2 / 3364 to the letter."""
    mine, theirs = np.zeros((2, 1, 58, 58, 3), np.float32)
    mine[0, 3, 4], theirs[0, 9, 9] = 1, 1
    assert number(heatmap_term(mine, theirs)) == pytest.approx([2])
    assert number(heatmap_term(mine, theirs, as_published=True)) == pytest.approx([2 / 3364])


def test_a_finer_heatmap_is_brought_to_the_students_cells():
    fine = np.zeros((1, 58, 58, 1), np.float32)
    fine[0, 29, 29] = 1
    coarse = number(ops.image.resize(fine, (16, 16), antialias=True))
    coarse = np.maximum(coarse, 0) / np.maximum(coarse, 0).sum()
    assert number(heatmap_term(coarse, fine)) == pytest.approx([0], abs=1e-6)
    assert number(heatmap_term(np.roll(coarse, 5, axis=1), fine)) > 0.1


def test_attention_in_both_readings():
    """Features ten times as large have the same attention of length 1, and another one to the letter."""
    rng = np.random.default_rng(0)
    features = rng.uniform(0.5, 2, (2, 2, 2, 8)).astype(np.float32)
    assert number(attention_term(10 * features, features)) == pytest.approx(0, abs=1e-5)
    letter = number(attention_term(10 * features, features, as_published=True))
    assert letter == pytest.approx(np.mean((99 * (features**2).sum(-1)).reshape(2, -1) ** 2, axis=1), rel=1e-3)
    one, other = np.zeros((2, 1, 2, 2, 1), np.float32)
    one[0, 0, 0], other[0, 1, 1] = 3, 3
    assert number(attention_term(one, other)) == pytest.approx([2], abs=1e-3)


def test_motion_carries_a_keypoint_to_its_place():
    """T(kp_D) = kp_S, and a step beside it is turned by J_S J_D⁻¹; the background stays."""
    quarter = np.array([[0, -1], [1, 0]], np.float32)
    source = {"keypoints": np.array([[[0.5, 0.1]]], np.float32), "jacobians": quarter[None, None]}
    driving = {"keypoints": np.array([[[-0.2, 0.3]]], np.float32), "jacobians": np.eye(2, dtype=np.float32)[None, None]}
    grid = np.array([[-0.2, 0.3], [-0.1, 0.3]], np.float32)
    moved = number(sparse_motion(source, driving, grid))
    assert moved[0, 0] == pytest.approx(grid)
    assert moved[0, 1] == pytest.approx(np.array([[0.5, 0.1], [0.5, 0.2]]), abs=1e-6)
    flat = number(sparse_motion(source, driving, grid, with_jacobians=False))
    assert flat[0, 1] == pytest.approx(np.array([[0.5, 0.1], [0.6, 0.1]]), abs=1e-6)
    assert number(drawn(driving["keypoints"], grid))[0, 0] == pytest.approx([1, np.exp(-0.01 / 0.02)], rel=1e-4)


def test_separation():
    """1 for coinciding keypoints; of three, one pair at 0.15 and one apart: e^(−1/2) / 3."""
    together = np.zeros((1, 3, 2), np.float32)
    assert number(losses.separation(together)) == pytest.approx([1])
    apart = np.array([[[0, 0], [0.15, 0], [-0.9, 0.9]]], np.float32)
    assert number(losses.separation(apart)) == pytest.approx([np.exp(-0.5) / 3], abs=1e-6)
