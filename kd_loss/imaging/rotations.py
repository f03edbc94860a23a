"""Rotations of heads: matrices, rotation vectors, angles, and distances between rotations.

Camera axes: x to the right of the image, y down, z away from the camera. A head's axes are the same for a face that
looks into the camera: x to the image's right (the subject's left), y to the chin, z to the back of the head.

The package's angles: yaw is positive when the face looks to the right of the image, pitch when it looks up, roll
when the head leans clockwise; `R = R_y(−yaw) R_x(−pitch) R_z(roll)`. The 300W-LP files, and with them the tables of
HopeNet, 6DRepNet and WHENet, use another convention: axes x right, y up, z to the viewer,
`R = R_x(p)ᵀ R_y(y)ᵀ R_z(r)ᵀ`, so that their yaw is positive to the *left* of the image and the order of rotations
differs. Apart from the sign of yaw, the two conventions agree where only one angle is nonzero, and differ by degrees
where two are large.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
#: from axes with y up and z to the viewer to those with y down and z away, and back
_TURNED = np.diag([1.0, -1.0, -1.0])
CONVENTION = "yaw right of the image, pitch up, roll clockwise; R = R_y(-yaw) R_x(-pitch) R_z(roll)"
CONVENTION_300WLP = (
    "300W-LP, HopeNet, 6DRepNet, WHENet: yaw left of the image; R = R_x(pitch)' R_y(yaw)' R_z(roll)', y up"
)


def to_matrices(vectors: ArrayLike) -> Array:
    """Rotation vectors (…, 3), in radians, as matrices (…, 3, 3)."""
    v = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*v.shape[:-1], 3, 3)
    small = angle < 1e-6
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def to_vectors(matrices: ArrayLike) -> Array:
    """Matrices (…, 3, 3) as rotation vectors (…, 3), in radians, of length at most π; computed via quaternions."""
    q = quaternions(matrices)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    return q[..., 1:] * np.where(sine < 1e-9, 2.0, angle / np.where(sine < 1e-9, 1.0, sine))


def quaternions(matrices: ArrayLike) -> Array:
    """Matrices (…, 3, 3) as unit quaternions (…, 4), w first; the sign is arbitrary.

    Divides by the largest of the four components, for stability (Shepperd 1978).
    """
    m = np.asarray(matrices, np.float64)
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # the four rows are 4 w q, 4 x q, 4 y q and 4 z q
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    rows = np.stack(
        [
            np.stack([1 + a + b + c, wx, wy, wz], axis=-1),
            np.stack([wx, 1 + a - b - c, xy, xz], axis=-1),
            np.stack([wy, xy, 1 - a + b - c, yz], axis=-1),
            np.stack([wz, xz, yz, 1 - a - b + c], axis=-1),
        ],
        axis=-2,
    )
    largest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    row = np.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


def geodesic(first: ArrayLike, second: ArrayLike) -> Array:
    """The angle between two rotations, (…, 3, 3) each -> (…,), in degrees, 0…180."""
    between = np.swapaxes(np.asarray(first, np.float64), -1, -2) @ np.asarray(second, np.float64)
    return np.degrees(np.linalg.norm(to_vectors(between), axis=-1))


def _about(axis: int, angles: ArrayLike) -> Array:
    """Right-handed rotations about one of the axes, angles (…,) in radians -> (…, 3, 3)."""
    vectors = np.zeros((*np.shape(angles), 3))
    vectors[..., axis] = angles
    return to_matrices(vectors)


def from_angles(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> Array:
    """The package's angles (…,) in degrees as matrices (…, 3, 3)."""
    y, p, r = (np.radians(np.asarray(angle, np.float64)) for angle in (yaw, pitch, roll))
    return _about(1, -y) @ _about(0, -p) @ _about(2, r)


def to_angles(matrices: ArrayLike) -> Array:
    """Matrices (…, 3, 3) as the package's yaw, pitch and roll (…, 3), in degrees."""
    r = np.asarray(matrices, np.float64)
    yaw, pitch = -np.arctan2(r[..., 0, 2], r[..., 2, 2]), np.arcsin(np.clip(r[..., 1, 2], -1, 1))
    return np.degrees(np.stack([yaw, pitch, np.arctan2(r[..., 1, 0], r[..., 1, 1])], axis=-1))


def from_300wlp(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> Array:
    """Angles (…,) in degrees, in the convention of 300W-LP, as matrices (…, 3, 3) in the package's axes."""
    y, p, r = (np.radians(np.asarray(angle, np.float64)) for angle in (yaw, pitch, roll))
    return _TURNED @ (_about(0, -p) @ _about(1, -y) @ _about(2, -r)) @ _TURNED


def to_300wlp(matrices: ArrayLike) -> Array:
    """Matrices (…, 3, 3) in the package's axes as 300W-LP's yaw, pitch and roll (…, 3), in degrees."""
    r = _TURNED @ np.asarray(matrices, np.float64) @ _TURNED
    yaw = -np.arcsin(np.clip(r[..., 0, 2], -1, 1))
    pitch, roll = np.arctan2(r[..., 1, 2], r[..., 2, 2]), np.arctan2(r[..., 0, 1], r[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


def against_ray(matrices: ArrayLike, places: ArrayLike) -> Array:
    """Rotations (…, 3, 3) of heads at positions (…, 3) in camera coordinates, relative to the rays to them.

    A head that moves around the camera, always showing it the same side, looks the same in its crop: a crop shows this
    rotation. On the camera's axis the two rotations are equal.
    """
    ray = np.asarray(places, np.float64)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    # the shortest rotation from the axis to the ray
    axis = np.stack([-ray[..., 1], ray[..., 0], np.zeros_like(ray[..., 0])], axis=-1)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, ray[..., 2:])
    to_ray = to_matrices(axis * np.where(sine < 1e-12, 0.0, angle / np.where(sine < 1e-12, 1.0, sine)))
    return np.swapaxes(to_ray, -1, -2) @ np.asarray(matrices, np.float64)
