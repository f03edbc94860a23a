"""Head poses of which only the yaw is known: how they are stored, move with their crop, and are completed in training.

AFLW's tables have a yaw and no pitch or roll. Such a target stores, in place of the rotation vector, the yaw in
radians, the angle by which the head leans in the image (clockwise, in radians: at first as its points say, then with
every rotation of the crop), and NaN, by which it is recognised. In training the student's own prediction completes it:
the target is the predicted rotation with the yaw, seen upright, replaced by the true one, so that only the yaw has a
gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_loss.imaging.rotations import Array, to_angles, to_matrices, to_vectors

#: a tensor of the current Keras backend
Tensor = Any


def encoded(yaw: float, lean: float = 0.0) -> Array:
    """The rotation part (3,) of a target of which only the yaw is known, and how the head leans; both in radians.

    >>> encoded(0.5).tolist()
    [0.5, 0.0, nan]
    """
    return np.array([yaw, lean, np.nan])


def is_encoded(rotations: np.ndarray) -> np.ndarray:
    """Which of the rotations (…, 3) are known by their yaw alone, (…,)."""
    return np.isnan(np.asarray(rotations)[..., 2])


def whole_rows(targets: np.ndarray) -> np.ndarray:
    """Targets (…, N, C) without the rows of which a number is missing: all of theirs become NaN.

    For whatever computes with numbers of which an encoded rotation has none.

    >>> whole_rows(np.array([[0.5, 0.0, np.nan], [0.1, 0.2, 0.3]])).tolist()
    [[nan, nan, nan], [0.1, 0.2, 0.3]]
    """
    return np.where(np.isnan(targets).any(axis=-1, keepdims=True), np.nan, targets)


def moved(rotations: Array, turn: float, mirrored: bool) -> Array:
    """Encoded rotations (N, 3) of a crop that is mirrored, if so, and then rotated clockwise by `turn` radians.

    >>> moved(encoded(0.5)[None], 0.2, mirrored=True).tolist()
    [[-0.5, 0.2, nan]]
    """
    sign = -1.0 if mirrored else 1.0
    return np.stack([sign * rotations[..., 0], sign * rotations[..., 1] + turn, rotations[..., 2]], axis=-1)


def yaws(rotations: Array) -> Array:
    """The yaws in degrees, (…,), of rotation vectors (…, 3), known whole or by their yaw alone.

    >>> yaws(np.stack([encoded(0.5, 0.3), [0.0, -0.5, 0.0]])).round(2).tolist()
    [28.65, 28.65]
    """
    whole = to_angles(to_matrices(level(rotations)))[..., 0]
    return np.where(is_encoded(rotations), np.degrees(rotations[..., 0]), whole)


def level(rotations: Array) -> Array:
    """Rotation vectors (…, 3), those known by their yaw alone as of a head that does not nod."""
    vectors = np.array(rotations, np.float64)
    only = is_encoded(vectors)
    yaw, turn = vectors[only, 0], vectors[only, 1]
    zero = np.zeros_like(yaw)
    about_y, about_z = (to_matrices(np.stack(axes, axis=-1)) for axes in ((zero, -yaw, zero), (zero, zero, turn)))
    vectors[only] = to_vectors(about_z @ about_y)
    return vectors


def to_quaternions(vectors: Tensor) -> Tensor:
    """Rotation vectors (B, 3) in radians as unit quaternions (B, 4), w first, in `keras.ops`."""
    from keras import ops

    angle = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-12)
    return ops.concatenate([ops.cos(angle / 2), ops.sin(angle / 2) * vectors / angle], axis=-1)


def from_quaternions(quaternions: Tensor) -> Tensor:
    """Unit quaternions (B, 4) as rotation vectors (B, 3) of length at most π, in `keras.ops`."""
    from keras import ops

    q = ops.where(quaternions[:, :1] < 0, -quaternions, quaternions)
    sine = ops.sqrt(ops.sum(ops.square(q[:, 1:]), axis=-1, keepdims=True) + 1e-12)
    return q[:, 1:] * (2 * ops.arctan2(sine, q[:, :1]) / sine)


def product(first: Tensor, second: Tensor) -> Tensor:
    """Quaternions (B, 4) of first ∘ second: the second rotation, then the first."""
    from keras import ops

    aw, ax, ay, az = ops.split(first, 4, axis=-1)
    bw, bx, by, bz = ops.split(second, 4, axis=-1)
    return ops.concatenate(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def completed(encoded_rotations: Tensor, predicted: Tensor) -> Tensor:
    """Replace the yaw of predicted rotations by the true one, both (B, 3), in `keras.ops`.

    With Q = R_z(turn)ᵀ R̂, the prediction seen upright, the result is R_z(turn) R_y(yaw(Q) − yaw) Q: its
    pitch and roll are the prediction's. Where the first argument is no encoded rotation the result has no meaning.
    """
    from keras import ops

    def about(axis: int, angle: Tensor) -> Tensor:
        half, none = angle / 2, ops.zeros_like(angle)
        return ops.stack([ops.cos(half), *(ops.sin(half) if i == axis else none for i in range(3))], axis=-1)

    yaw, turn = encoded_rotations[:, 0], encoded_rotations[:, 1]
    q = product(about(2, -turn), to_quaternions(predicted))
    w, x, y, z = (q[:, i] for i in range(4))
    # the third column of the matrix is where the back of the head points
    back_x, back_z = 2 * (x * z + w * y), 1 - 2 * (x * x + y * y)
    own = -ops.arctan2(back_x, back_z)
    return from_quaternions(product(about(2, turn), product(about(1, own - yaw), q)))
