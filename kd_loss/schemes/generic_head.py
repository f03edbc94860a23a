"""A generic head with more than six points, and head pose from landmarks by fitting it.

The six points that most programs use (nose tip, chin, outer corners of eyes and mouth; here in fifths of a
millimetre), plus inner eye corners, ridge and base of the nose from mean adult distances between such points (inner
corners 32 mm apart, wings of the nose 34 mm, root of the nose to its base 52 mm; anthropometric tables after Farkas).
It is not the head of a real person and comes from no dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from kd_loss.imaging.rotations import against_ray, to_matrices, to_vectors
from kd_loss.schemes.base import HeadPlacement
from kd_loss.schemes.benchmarks import COFW, W300, WFLW

if TYPE_CHECKING:
    from kd_loss.schemes.base import Scheme

#: focal length of a crop's camera, in crop sides: a photograph from about two metres
FOCAL = 4.0
#: width of the head, between the ears, in fifths of a millimetre, like the points below
WIDTH = 720.0
#: index of the 68 -> position, x right, y down, z away from the camera, for a face that looks into it
POINTS = {
    **{36: (-225, -170, 135), 39: (-80, -165, 115), 42: (80, -165, 115), 45: (225, -170, 135)},
    **{27: (0, -200, 85), 28: (0, -135, 60), 29: (0, -70, 30), 30: (0, 0, 0)},
    **{31: (-80, 40, 85), 32: (-40, 52, 65), 33: (0, 60, 55), 34: (40, 52, 65), 35: (80, 40, 85)},
    **{48: (-150, 150, 125), 54: (150, 150, 125), 8: (0, 330, 65)},
}
#: the middle of a head: below the middle of its eyes and behind them, by 0.15 and 0.1 of its width
MIDDLE = np.array([0.0, -170 + 0.15 * WIDTH, 135 + 0.1 * WIDTH])
#: point of COFW -> the same point of the 68
_OF_COFW = {8: 36, 10: 39, 11: 42, 9: 45, 20: 30, 18: 31, 21: 33, 19: 35, 22: 48, 23: 54, 28: 8}
#: fewest points that determine a pose
FEWEST = 6
#: largest distance between points and the fitted head, root mean square over the points' extent: annotated faces have
#: 0.04, at most 0.09, points on a line 0.2, and random points 0.3 and more
WORST_FIT = 0.15


def _indices(scheme: Scheme) -> dict[int, int]:
    """Point of a scheme -> point of the 68; empty for a scheme that is not a benchmark's."""
    of_wflw = {own: other for own, other in enumerate(WFLW.same["w300"]) if other in POINTS}
    for known, indices in ((W300, {i: i for i in POINTS}), (COFW, _OF_COFW), (WFLW, of_wflw)):
        if scheme.shape == known.shape and getattr(scheme, "pairs", None) == known.pairs:
            return indices  # type: ignore[return-value]
    return {}


def knows_head(scheme: Scheme) -> bool:
    """Whether a scheme contains the points of the generic head."""
    return bool(_indices(scheme))


def place_of(points: np.ndarray, scheme: Scheme, turn: np.ndarray) -> HeadPlacement | None:
    """Locate a head of known rotation (3, 3) from its landmarks (K, 2) in pixels, under a distant camera.

    Fits scale and shift of the rotated generic head by least squares; its axes are taken as relative to the ray.
    Returns None if no head with this rotation fits the points.
    """
    indices = _indices(scheme)
    head = (np.array([POINTS[other] for other in indices.values()], np.float64) - MIDDLE) / WIDTH
    flat, seen = (head @ turn.T)[:, :2], np.asarray(points, np.float64)[list(indices)]
    centred = flat - flat.mean(axis=0)
    width = float((centred * (seen - seen.mean(axis=0))).sum() / np.square(centred).sum())
    x, y = seen.mean(axis=0) - width * flat.mean(axis=0)
    return HeadPlacement(turn, (float(x), float(y)), width) if width >= 1 else None


def pose_in_crop(points: np.ndarray, scheme: Scheme, focal: float = FOCAL) -> np.ndarray | None:
    """Rotation vector, and x, y and log depth (2, 3) of a head from its normalised landmarks (K, 2) in a crop.

    The camera looks at the middle of the crop. Returns None if there are fewer than six points or no head fits them.
    """
    indices = {own: other for own, other in _indices(scheme).items() if np.isfinite(points[own]).all()}
    if len(indices) < FEWEST:
        return None
    seen = np.ascontiguousarray(points[list(indices)], np.float64)
    head = (np.array([POINTS[other] for other in indices.values()], np.float64) - MIDDLE) / WIDTH
    camera = np.diag([focal, focal, 1.0])
    extent = float(np.ptp(seen, axis=0).max())
    if extent < 1e-3:
        return None
    # of a half-hidden face a search from the front may end in a head that looks to the other side
    starts = (0.0,) if len(indices) == len(_indices(scheme)) else (0.0, -60.0, 60.0)
    fits = [_fit(head, seen, camera, focal * float(np.ptp(head, axis=0).max()) / extent, yaw) for yaw in starts]
    found = min((fit for fit in fits if fit), key=lambda fit: _misfit(head, seen, camera, fit), default=None)
    if found is None:
        return None
    turn, place = found
    if not _misfit(head, seen, camera, found) <= WORST_FIT * extent:
        return None
    x, y, depth = np.asarray(place, np.float64)[:, 0]
    rotation = against_ray(to_matrices(np.asarray(turn)[:, 0]), [x, y, depth])
    return np.array([to_vectors(rotation), [focal * x / depth, focal * y / depth, np.log(depth / focal)]])


def _misfit(head: np.ndarray, seen: np.ndarray, camera: np.ndarray, fit: tuple[np.ndarray, np.ndarray]) -> float:
    """Root mean square distance of image points (n, 2) from those of a head (n, 3) at a rotation and position."""
    apart = cv2.projectPoints(head, *fit, camera, None)[0][:, 0] - seen
    return float(np.sqrt(np.square(apart).sum(axis=1).mean()))


def _fit(
    head: np.ndarray, seen: np.ndarray, camera: np.ndarray, distance: float, yaw: float = 0.0
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation vector and position, (3, 1) each, of the head (n, 3) in front of a camera with image points (n, 2).

    The search starts from a distant face that looks into the camera, or to the right of the image by `yaw` degrees,
    and leans as the points do: from an upright start it ends behind the camera if the head is upside down.
    """
    aside = to_matrices([0.0, -np.radians(yaw), 0.0])
    flat, centred = (head @ aside.T)[:, :2], seen - seen.mean(axis=0)
    flat = flat - flat.mean(axis=0)
    roll = np.arctan2((flat[:, 0] * centred[:, 1] - flat[:, 1] * centred[:, 0]).sum(), (flat * centred).sum())
    x, y = seen.mean(axis=0) * distance / camera[0, 0]
    start = to_vectors(to_matrices([0.0, 0.0, roll]) @ aside).reshape(3, 1), np.array([[x], [y], [distance]])
    found, turn, place = cv2.solvePnP(head, seen, camera, None, *start, True, cv2.SOLVEPNP_ITERATIVE)
    if not found or not np.isfinite(turn).all() or not place[2, 0] > 0:
        return None
    turn, place = cv2.solvePnPRefineLM(head, seen, camera, None, turn, place)
    return (turn, place) if place[2, 0] > 0.1 else None
