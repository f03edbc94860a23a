"""A face whose head is turned a little further: the image is warped as the points of a generic head move.

The head of `schemes.full_head` is fitted to the landmarks; turned by some degrees, each of its points moves in the
image, and the image with it. Between the points the shift is interpolated smoothly, and fades out around the
face. What was hidden does not appear: the far cheek is stretched or squeezed, so that ten or twenty degrees look
right, and forty do not.
"""

from __future__ import annotations

import cv2
import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.full_head import FULL, HeadView, fit_head

#: known points without which a face is not turned
FEWEST = 6
#: cells of the grid on which the shift is computed, per side
_CELLS = 24
#: depth of the cheek's edge, in the head's units
_CHEEK = 200.0
#: width of a point's influence, and of the fading around the face, in extents of the face
_NEAR, _FADE = 0.08, 0.35


def head_shift(view: HeadView, yaw: float, pitch: float = 0.0) -> np.ndarray:
    """How far each of the 68 points of a face moves when its head turns, (68, 2), in the units of the face.

    Args:
        view: of the face, see `schemes.full_head.fit_head`.
        yaw: degrees to the right of the image.
        pitch: degrees upwards; both about the head's own axes.
    """
    head = _head(view.yaw + yaw)
    before, after = (_seen(head, view.yaw + y, view.pitch + p) for y, p in ((0.0, 0.0), (yaw, pitch)))
    # rotation and scale from the head's plane to the image's
    affine = geometry.fit_similarity(_seen(FULL, view.yaw, view.pitch), view.points)
    return np.asarray((after - before) @ affine[:, :2].T)


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
    """Return an image (H, W, 3) uint8 with the head turned further, and its points (68, 2) in pixels.

    Args:
        image: the image.
        points: (68, 2) pixels, NaN where not annotated; a face with fewer than six is returned unchanged.
        yaw: degrees to the right, see `head_shift`.
        pitch: degrees upwards.
    """
    if np.isfinite(points[:, 0]).sum() < FEWEST:
        return image, points
    view = fit_head(points)
    shift = head_shift(view, yaw, pitch)
    return _warped(image, points, view, shift), points + shift


def _warped(image: np.ndarray, points: np.ndarray, view: HeadView, shift: np.ndarray) -> np.ndarray:
    """The image, whose content moves by the shift (68, 2) of the points (68, 2)."""
    known = np.isfinite(points[:, 0])
    places = np.where(known[:, None], points, view.points)
    extent = float(np.ptp(places, axis=0).max())
    height, width = image.shape[:2]
    y, x = np.mgrid[0 : height - 1 : _CELLS * 1j, 0 : width - 1 : _CELLS * 1j]
    grid = np.stack([x, y], axis=-1).reshape(-1, 2)
    # the image is read backwards: at the place where a cell's content came from
    backward = _interpolated(grid, places + shift, -shift, extent).reshape(_CELLS, _CELLS, 2)
    whole = cv2.resize(backward.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(
        image, columns + whole[..., 0], rows + whole[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


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
        The image and the points; unchanged if there are too few, or the head would turn away from the camera.
    """
    truth = targets.reshape(-1, *targets.shape[-2:])[0].astype(np.float64)
    if np.isfinite(truth[:, 0]).sum() < FEWEST:
        return image, targets
    size = image.shape[0] - 2 * border
    pixels = geometry.denormalise(truth, size) + border
    view = fit_head(pixels)
    if abs(view.yaw + yaw) > 90:
        return image, targets
    shift = head_shift(view, yaw, pitch)
    return _warped(image, pixels, view, shift), (targets + shift / size).astype(targets.dtype)


def _interpolated(grid: np.ndarray, centres: np.ndarray, values: np.ndarray, extent: float) -> np.ndarray:
    """Values (G, 2) at places (G, 2) from those (K, 2) at centres: a normalised mean that fades out off the face."""
    distance = np.linalg.norm(grid[:, None] - centres[None], axis=2) / extent
    weight = np.exp(-np.square(distance / _NEAR) / 2) + 1e-12 * np.exp(-distance)
    mean = weight @ values / weight.sum(axis=1, keepdims=True)
    fade = np.exp(-np.square(distance.min(axis=1) / _FADE))
    return np.asarray(mean * fade[:, None])
