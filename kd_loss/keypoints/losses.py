"""The losses of unsupervised keypoints, and of students of their detector; pure functions.

Keypoints (B, K, 2) in −1…1, Jacobians (B, K, 2, 2), heatmaps (B, h, w, K) that sum to 1 over the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from kd_loss.distillation.base import per_sample
from kd_loss.keypoints.warp import warp_jacobian, warp_points

Tensor = Any

#: distance scale below which `separation` treats keypoints as coincident
APART = 0.15
#: smallest absolute value of a determinant
_LEAST = 1e-4


def inverse(matrices: Tensor) -> Tensor:
    """The inverses of 2 × 2 matrices (…, 2, 2); a determinant closer to 0 than 1e-4 is replaced by that."""
    a, b, c, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 0], matrices[..., 1, 1]
    determinant = a * d - b * c
    least = ops.where(determinant < 0, -_LEAST, _LEAST)
    determinant = ops.where(ops.abs(determinant) < _LEAST, least, determinant)
    rows = [ops.stack([d, -b], axis=-1), ops.stack([-c, a], axis=-1)]
    return ops.stack(rows, axis=-2) / determinant[..., None, None]


def equivariance_value(affine: Tensor, plate: Tensor, keypoints: Tensor, warped: Tensor) -> Tensor:
    """mean |kp(D) − T(kp(T∘D))| of keypoints (B, K, 2) and those of the warped image, (B,)."""
    return per_sample(ops.abs(keypoints - warp_points(affine, plate, warped)))


def equivariance_jacobian(affine: Tensor, plate: Tensor, jacobians: Tensor, warped: Tensor, at: Tensor) -> Tensor:
    """mean |I − J_D⁻¹ (∂T · J_{T∘D})|, (B,); ∂T at the warped image's keypoints `at` (B, K, 2)."""
    carried = ops.matmul(warp_jacobian(affine, plate, at), warped)
    return per_sample(ops.abs(ops.eye(2) - ops.matmul(inverse(jacobians), carried)))


def separation(keypoints: Tensor) -> Tensor:
    """The mean over pairs of exp(−|kp_k − kp_l|² / (2·0.15²)), (B,): 1 where all coincide, 0 where they are far apart.

    After Zhang et al., "Unsupervised Discovery of Object Landmarks", CVPR 2018; not part of the published detector.
    """
    count = keypoints.shape[1]
    squared = ops.sum(ops.square(keypoints[:, :, None] - keypoints[:, None]), axis=-1)
    near = ops.exp(-squared / (2 * APART**2))
    return (ops.sum(near, axis=(1, 2)) - count) / (count * (count - 1))


def pyramid_l1(picture: Tensor, wanted: Tensor, levels: int = 4) -> Tensor:
    """The mean absolute difference of images (B, S, S, C) over `levels` resolutions, each half of the last, (B,)."""
    total = ops.zeros(())
    for level in range(levels):
        if level:
            picture, wanted = (ops.average_pool(image, 2, 2) for image in (picture, wanted))
        total = total + per_sample(ops.abs(picture - wanted))
    return total / levels


def feature_l1(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The mean over feature maps of mean |f − g| / mean |g|, (B,)."""
    shares = [
        per_sample(ops.abs(f - g)) / (per_sample(ops.abs(g)) + 1e-3) for f, g in zip(student, teacher, strict=True)
    ]
    return sum(shares) / len(shares)


def value_and_slope(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> Tensor:
    """L1 = MSE(kp) + MSE(J), (B,)."""
    return sum(per_sample(ops.square(student[name] - teacher[name])) for name in ("keypoints", "jacobians"))


def average_keypoint_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """AKD: 1/K Σ ‖kp_s − kp_t‖ in units of the −1…1 grid, (B,)."""
    return per_sample(ops.norm(student - teacher, axis=-1))
