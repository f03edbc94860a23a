"""A face whose head is turned a little further: the picture is warped as the points of a generic head move.

The head of `schemes.full_head` is fitted to the landmarks; turned by some degrees, each of its points moves in the
picture, and the picture with it. Between the points the shift is interpolated smoothly, and fades out around the
face. What was hidden does not appear: the far cheek is stretched or squeezed, so that ten or twenty degrees look
right, and forty do not.
"""

from __future__ import annotations

import cv2
import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.full_head import FULL, HeadView, fit_head

#: cells of the grid on which the shift is computed, per side
_CELLS = 24
#: depth of the cheek's edge, in the head's units
_CHEEK = 200.0
#: width of a point's influence, and of the fading around the face, in extents of the face
_NEAR, _FADE = 0.08, 0.35


def head_shift(points: np.ndarray, yaw: float, pitch: float = 0.0) -> np.ndarray:
    """How far each of the 68 points (68, 2) of a face moves when its head turns, in the same units.

    Args:
        points: NaN where not annotated; at least six are known.
        yaw: degrees to the right of the picture.
        pitch: degrees upwards; both about the head's own axes.

    Returns:
        (68, 2), also for points that are not annotated.
    """
    view: HeadView = fit_head(points)
    head = _head(view.yaw + yaw)
    before, after = (_seen(head, view.yaw + y, view.pitch + p) for y, p in ((0.0, 0.0), (yaw, pitch)))
    # a view's similarity: rotation and scale from the head's plane to the picture's
    whole = _seen(FULL, view.yaw, view.pitch)
    a, b = whole - whole.mean(axis=0), view.points - view.points.mean(axis=0)
    size = np.square(a).sum()
    c, s = (a * b).sum() / size, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    return np.asarray((after - before) @ np.array([[c, -s], [s, c]]).T)


def _head(yaw: float) -> np.ndarray:
    """The head (68, 3) for a face that ends up with this yaw: the far side of its jaw is the edge of the cheek.

    The jaw itself goes behind the cheek there; annotators mark the edge that they see.
    """
    head = FULL.copy()
    far = (np.arange(68) < 17) & (np.sign(FULL[:, 0]) * np.sign(yaw) > 0)
    head[far, 2] = np.minimum(head[far, 2], _CHEEK)
    return head


def _seen(head: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """The points (68, 2) of a head (68, 3), turned about the middle between the ears, upright, in head widths."""
    middle = np.array([0.0, FULL[[36, 45], 1].mean(), FULL[[0, 16], 2].mean() - 40])
    turn = to_matrices([-np.radians(pitch), 0, 0]) @ to_matrices([0, -np.radians(yaw), 0])
    return np.asarray((((head - middle) / 680) @ turn.T)[:, :2])


def turn_head(image: np.ndarray, points: np.ndarray, yaw: float, pitch: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture (H, W, 3) uint8 with the head turned further, and its points (68, 2) in pixels.

    Args:
        image: the picture.
        points: (68, 2) pixels, NaN where not annotated; a face with fewer than six is returned unchanged.
        yaw: degrees to the right, see `head_shift`.
        pitch: degrees upwards.
    """
    known = np.isfinite(points[:, 0])
    if known.sum() < 6:
        return image, points
    view = fit_head(points)
    shift = head_shift(points, yaw, pitch)
    places = np.where(known[:, None], points, view.points)
    extent = float(np.ptp(places, axis=0).max())
    height, width = image.shape[:2]
    y, x = np.mgrid[0 : height - 1 : _CELLS * 1j, 0 : width - 1 : _CELLS * 1j]
    grid = np.stack([x, y], axis=-1).reshape(-1, 2)
    # the picture is read backwards: at the place where a cell's content came from
    backward = _interpolated(grid, places + shift, -shift, extent).reshape(_CELLS, _CELLS, 2)
    whole = cv2.resize(backward.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(
        image, columns + whole[..., 0], rows + whole[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved, points + shift


def turned(
    image: np.ndarray, targets: np.ndarray, yaw: float, pitch: float, border: int
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the head in a stored crop (T, T, 3) with `border` pixels around it.

    Args:
        image: the stored crop.
        targets: (…, 68, 2) normalised points; the first of several faces is the truth, the others move with it.
        yaw: degrees to the right, see `head_shift`.
        pitch: degrees upwards.
        border: width of the surroundings in pixels.

    Returns:
        The picture and the points; unchanged if there are too few, or the head would turn away from the camera.
    """
    truth = targets.reshape(-1, *targets.shape[-2:])[0].astype(np.float64)
    if np.isfinite(truth[:, 0]).sum() < 6 or abs(fit_head(truth).yaw + yaw) > 90:
        return image, targets
    size = image.shape[0] - 2 * border
    pixels = geometry.denormalise(truth, size) + border
    picture, _ = turn_head(image, pixels, yaw, pitch)
    shift = head_shift(pixels, yaw, pitch) / size
    return picture, (targets + shift).astype(targets.dtype)


def _interpolated(grid: np.ndarray, centres: np.ndarray, values: np.ndarray, extent: float) -> np.ndarray:
    """Values (G, 2) at places (G, 2) from those (K, 2) at centres: a normalised mean that fades out off the face."""
    distance = np.linalg.norm(grid[:, None] - centres[None], axis=2) / extent
    weight = np.exp(-np.square(distance / _NEAR) / 2) + 1e-12 * np.exp(-distance)
    mean = weight @ values / weight.sum(axis=1, keepdims=True)
    fade = np.exp(-np.square(distance.min(axis=1) / _FADE))
    return np.asarray(mean * fade[:, None])
