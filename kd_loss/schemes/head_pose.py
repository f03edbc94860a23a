"""Head pose from landmarks: `cv2.solvePnP` on six points of a generic head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kd_loss.schemes.rotations import against_ray, from_angles, to_angles, to_matrices
from kd_loss.schemes.spec import COFW, W300, WFLW, DatasetSpec

#: nose tip, chin, outer eye corners, mouth corners (the subject's right first) of a generic head, in camera
#: axes: x right, y down, z away from the camera; the unit does not matter
HEAD = np.array(
    [[0, 0, 0], [0, 330, 65], [-225, -170, 135], [225, -170, 135], [-150, 150, 125], [150, 150, 125]], np.float64
)
#: the six points in each scheme
PLACES = {
    "w300": (W300, (30, 8, 36, 45, 48, 54)),
    "wflw": (WFLW, (54, 16, 60, 72, 76, 82)),
    "cofw": (COFW, (20, 28, 8, 9, 22, 23)),
}


@dataclass(frozen=True)
class HeadPose:
    """Angles in degrees, against the ray through the head: 0 for a face that looks into the camera (`rotations`).

    Attributes:
        yaw: positive when the face looks to the right of the picture.
        pitch: positive when it looks up.
        roll: positive when the head leans clockwise in the picture.
    """

    yaw: float
    pitch: float
    roll: float


def pose_points(spec: DatasetSpec) -> tuple[int, ...] | None:
    """The six landmarks of a scheme that tell the pose; None where it is not one of the benchmarks'."""
    for known, indices in PLACES.values():
        if (known.points, known.pairs) == (spec.points, spec.pairs):
            return indices
    return None


def rotation(pose: HeadPose) -> np.ndarray:
    """The (3, 3) rotation of the head in camera axes: roll first, then pitch, then yaw."""
    return from_angles(pose.yaw, pose.pitch, pose.roll)


def camera_matrix(height: int, width: int) -> np.ndarray:
    """(3, 3) of a camera whose focal length is the picture's longer side, about 53 degrees wide."""
    focal = float(max(height, width))
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def head_pose(landmarks: np.ndarray, spec: DatasetSpec, height: int, width: int) -> HeadPose | None:
    """The pose of a head from its landmarks (K, 2) in pixels of a picture of `height` × `width`.

    An estimate: neither the camera nor the person's own head is known. None where the scheme has not the six
    points, or where they do not make a face.
    """
    indices = pose_points(spec)
    if indices is None:
        return None
    points = np.asarray(landmarks, np.float64)[list(indices)]
    matrix = camera_matrix(height, width)
    extent = float(np.ptp(points, axis=0).max())
    if not np.isfinite(points).all() or extent < 1:
        return None
    distance = matrix[0, 0] * 500 / extent
    middle = (points.mean(axis=0) - matrix[:2, 2]) * distance / matrix[0, 0]
    start = np.zeros((3, 1)), np.array([[middle[0]], [middle[1]], [distance]])
    found, turn, place = cv2.solvePnP(HEAD, points, matrix, None, *start, True, cv2.SOLVEPNP_ITERATIVE)
    if not found:
        return None
    turned = against_ray(to_matrices(np.asarray(turn)[:, 0]), np.asarray(place)[:, 0])
    return HeadPose(*(float(a) for a in to_angles(turned)))
