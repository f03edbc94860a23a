"""Random smooth maps of the image's plane, their derivative in closed form, and images warped by them.

Coordinates are (x, y) from −1, the centre of the first pixel, to 1, the centre of the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kd_loss.networks.keypoint_detector import places

#: control points per side of the thin plate
CONTROL = 5
AFFINE_DEVIATION, PLATE_DEVIATION = 0.05, 0.005

Tensor = Any


def draw_warps(rng: np.random.Generator, count: int, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Affine matrices I + N(0, 0.05), (count, 2, 3), and weights N(0, 0.005) of a thin plate, (count, 25, 2).

    Both deviations are multiplied by `strength`.
    """
    affine = np.eye(2, 3) + strength * rng.normal(0, AFFINE_DEVIATION, (count, 2, 3))
    plate = strength * rng.normal(0, PLATE_DEVIATION, (count, CONTROL**2, 2))
    return affine.astype(np.float32), plate.astype(np.float32)


def _from_control(points: Tensor) -> tuple[Tensor, Tensor]:
    """Differences (B, N, 25, 2) of points to the control points, and their squared lengths (B, N, 25)."""
    difference = points[:, :, None, :] - places(CONTROL, CONTROL)
    return difference, ops.sum(ops.square(difference), axis=-1)


def warp_points(affine: Tensor, plate: Tensor, points: Tensor) -> Tensor:
    """T(p) = A p + b + Σ_c w_c U(|p − c|), U(r) = r² log r, for points (B, N, 2).

    Each axis has weights of its own and r is Euclidean: a thin plate. The published code takes the sum of absolute
    differences for r and one weight for both axes.
    """
    _, squared = _from_control(points)
    bend = 0.5 * squared * ops.log(ops.maximum(squared, 1e-12))
    straight = ops.matmul(points, ops.swapaxes(affine[:, :, :2], 1, 2)) + affine[:, None, :, 2]
    return straight + ops.matmul(bend, plate)


def warp_jacobian(affine: Tensor, plate: Tensor, points: Tensor) -> Tensor:
    """∂T_i/∂p_j at points (B, N, 2), (B, N, 2, 2): A + Σ_c w_c (p − c)ᵀ (2 log r + 1)."""
    difference, squared = _from_control(points)
    slope = difference * (ops.log(ops.maximum(squared, 1e-12)) + 1.0)[..., None]
    return affine[:, None, :, :2] + ops.einsum("bci,bncj->bnij", plate, slope)


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """Images (B, H, W, C) read at places (B, N, 2), bilinear, (B, N, C); outside of them the border goes on."""
    batch = ops.shape(images)[0]
    _, height, width, channels = images.shape
    flat = ops.reshape(images, (-1, channels))
    x = ops.clip((grid[..., 0] + 1) / 2 * (width - 1), 0.0, width - 1.0)
    y = ops.clip((grid[..., 1] + 1) / 2 * (height - 1), 0.0, height - 1.0)
    left, top = ops.clip(ops.floor(x), 0, width - 2), ops.clip(ops.floor(y), 0, height - 2)
    right, low = (x - left)[..., None], (y - top)[..., None]
    first = ops.arange(batch)[:, None] * (height * width) + ops.cast(top * width + left, "int32")

    def corner(offset: int) -> Tensor:
        return ops.take(flat, first + offset, axis=0)

    above = corner(0) * (1 - right) + corner(1) * right
    below = corner(width) * (1 - right) + corner(width + 1) * right
    return above * (1 - low) + below * low


def warp_images(affine: Tensor, plate: Tensor, images: Tensor) -> Tensor:
    """T∘D: the images (B, H, W, C) that show at p what the given ones show at T(p)."""
    _, height, width, channels = images.shape
    grid = ops.tile(ops.convert_to_tensor(places(height, width))[None], (ops.shape(images)[0], 1, 1))
    return ops.reshape(sample(images, warp_points(affine, plate, grid)), (-1, height, width, channels))
