"""Head pose as angles, and its estimate from landmarks with a generic head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import from_angles, to_angles, to_matrices
from kd_loss.schemes.generic_head import knows_head, pose_in_crop
from kd_loss.schemes.landmarks import LandmarkScheme

#: margin of the crop around the landmarks that defines the camera, as in `prepare`
MARGIN = 0.15


@dataclass(frozen=True)
class HeadPose:
    """Angles in degrees, relative to the ray through the head: 0 for a face that looks into the camera (`rotations`).

    Attributes:
        yaw: positive when the face looks to the right of the image.
        pitch: positive when it looks up.
        roll: positive when the head leans clockwise in the image.
    """

    yaw: float
    pitch: float
    roll: float


def rotation(pose: HeadPose) -> np.ndarray:
    """The (3, 3) rotation of the head in camera axes: roll first, then pitch, then yaw."""
    return from_angles(pose.yaw, pose.pitch, pose.roll)


def camera_matrix(height: int, width: int) -> np.ndarray:
    """Matrix (3, 3) of a camera whose focal length is the image's longer side, about 53 degrees wide."""
    focal = float(max(height, width))
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def head_pose(landmarks: np.ndarray, scheme: LandmarkScheme) -> HeadPose | None:
    """Estimate the pose of a head from its landmarks (K, 2) in pixels, in the convention of the datasets `pose_…`.

    The camera is that of a crop around them, wherever the head is and whatever the size of the image.
    Points that are NaN are ignored. It is an estimate: neither the camera nor the person's own head is known. Returns
    None if the scheme lacks the points of the generic head, or if no head fits them.
    """
    points = np.asarray(landmarks, np.float64)
    if not knows_head(scheme) or not np.isfinite(points).any():
        return None
    square = geometry.square_crop(geometry.landmark_box(points), MARGIN)
    if square[2] < 1:
        return None
    found = pose_in_crop(geometry.apply(geometry.normalised_affine(square), points), scheme)
    return None if found is None else HeadPose(*(float(a) for a in to_angles(to_matrices(found[0]))))
