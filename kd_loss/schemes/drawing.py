"""Landmarks and their polylines on images, and sheets of images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.head_pose import HeadPose, rotation
from kd_loss.schemes.landmarks import LandmarkScheme

#: the axes of a head: its left, up, where it looks; none in a colour of landmarks
AXES = (((1, 0, 0), (240, 60, 240)), ((0, -1, 0), (60, 200, 60)), ((0, 0, -1), (60, 120, 255)))
#: extent in pixels of the points below which lines would bury the face, if the points are many
_SMALL = 48
#: one whose points would cover it
_TINY = 24
TRUTH, PREDICTED, OTHER = (60, 220, 60), (255, 70, 50), (60, 140, 255)
#: the colour of a landmark with confidence 0
UNSURE = (255, 230, 0)
_SHIFT = 4


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)


def draw_landmarks(
    image: np.ndarray,
    landmarks: np.ndarray,
    scheme: LandmarkScheme | None = None,
    colour: tuple[int, int, int] = PREDICTED,
    radius: float | None = None,
    confidence: np.ndarray | None = None,
    visibility: np.ndarray | None = None,
) -> np.ndarray:
    """Draw points (K, 2), in pixels, and the scheme's edges on a copy of an image (H, W, 3).

    NaN points are skipped. `radius` is in pixels; by default a hundredth of the extent of the points. On a small face
    the points are single pixels without edges, so that the face remains visible, in a frame; on a tiny one half
    transparent.
    `confidence` (K,) 0…1 blends the points from `UNSURE` (0) to `colour` (1). Points whose `visibility` (K,) is below
    one half are hollow, and edges between two of them are omitted.
    """
    picture = np.ascontiguousarray(image).copy()
    points = np.asarray(landmarks, np.float64)
    seen = np.asarray(np.isfinite(points).all(axis=1))
    if not seen.any():
        return picture
    extent = float(np.ptp(points[seen], axis=0).max())
    size = max(1.0, extent / 110) if radius is None else radius
    small = radius is None and extent < min(_SMALL, 2 * len(points))
    if scheme is not None and not small:
        shown = np.ones(len(points), bool) if visibility is None else np.asarray(visibility) >= 0.5
        apart = [pair for edge in scheme.edges for pair in pairwise(edge)]
        whole: Sequence[Sequence[int]] = scheme.edges if seen.all() and shown.all() else apart
        lines = [_fixed(points[list(e)]) for e in whole if seen[list(e)].all() and shown[list(e)].any()]
        cv2.polylines(picture, lines, False, colour, max(1, round(size / 2)), cv2.LINE_AA, _SHIFT)
    shares = np.ones(len(points)) if confidence is None else np.clip(confidence, 0, 1)
    solid = np.ones(len(points), bool) if visibility is None else np.asarray(visibility) >= 0.5
    for (x, y), share, filled in zip(_fixed(points[seen]), shares[seen], solid[seen], strict=True):
        blend = tuple(int(share * c + (1 - share) * u) for c, u in zip(colour, UNSURE, strict=True))
        if small:
            column, row = round(x / (1 << _SHIFT)), round(y / (1 << _SHIFT))
            if 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]:
                under = (1 if filled else 3) if extent < _TINY else (0 if filled else 1)
                picture[row, column] = (under * picture[row, column].astype(int) + blend) // (under + 1)
            continue
        reach, line = (size, -1) if filled else (1.3 * max(size, 1.2), max(1, round(size / 2)))
        cv2.circle(picture, (int(x), int(y)), int(reach * (1 << _SHIFT)), blend, line, cv2.LINE_AA, _SHIFT)
    if small and scheme is not None:
        (x0, y0), (x1, y1) = points[seen].min(axis=0) - 2, points[seen].max(axis=0) + 2
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        cv2.polylines(picture, [_fixed(corners)], True, colour, 1, cv2.LINE_AA, _SHIFT)
    return picture


def draw_pose(image: np.ndarray, pose: HeadPose, landmarks: np.ndarray) -> np.ndarray:
    """Draw the head's axes at the middle of its landmarks on a copy: magenta left, green up, blue where it looks."""
    points = np.asarray(landmarks, np.float64)
    return draw_axes(image, rotation(pose), points.mean(axis=0), float(np.ptp(points, axis=0).max()) / 2)


def draw_axes(
    image: np.ndarray, turn: np.ndarray, middle: np.ndarray, length: float, width: int | None = None
) -> np.ndarray:
    """Draw the axes of a head with rotation (3, 3) at its middle (x, y): its left, up, where it looks.

    `length` of an axis and `width` of the lines are in pixels; the width is a fortieth of the length by default.
    """
    picture = np.ascontiguousarray(image).copy()
    width = max(1, round(length / 40)) if width is None else width
    for axis, colour in AXES:
        end = middle + length * (turn @ np.array(axis, np.float64))[:2]
        a, b = (tuple(int(v) for v in p) for p in _fixed(np.stack([middle, end])))
        cv2.line(picture, a, b, colour, width, cv2.LINE_AA, _SHIFT)
    return picture


def draw_head(image: np.ndarray, raw: np.ndarray, width: int = 3) -> np.ndarray:
    """Draw a head's axes on a copy of a crop; `raw` (2, 3) is its rotation vector, and x, y and log depth."""
    side = image.shape[0]
    middle = (raw[1, :2] + 0.5) * side - 0.5
    return draw_axes(image, to_matrices(raw[0]), middle, 0.6 * side * float(np.exp(-raw[1, 2])), width=width)


def enlarge(image: np.ndarray, landmarks: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize a square image to `side` pixels, and scale its landmarks."""
    factor = side / image.shape[0]
    big = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR if factor > 1 else cv2.INTER_AREA)
    return big, (np.asarray(landmarks, np.float64) + 0.5) * factor - 0.5


def label(image: np.ndarray, text: str, strip: int = 0) -> np.ndarray:
    """Draw a line of text on a dark strip at the lower edge of a copy, `strip` pixels high; 0: a twelfth."""
    picture = np.ascontiguousarray(image).copy()
    height, width = picture.shape[:2]
    strip = strip or max(14, height // 12)
    picture[height - strip :] = picture[height - strip :] // 4
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts are ASCII only; half a character ends the process
    cv2.putText(
        picture, plain, (4, height - strip // 4), cv2.FONT_HERSHEY_SIMPLEX, strip / 34, (255, 255, 255), 1, cv2.LINE_AA
    )
    return picture[:, :width]


def sheet(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Arrange images of one size in a grid; the last row is padded with black."""
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.vstack(rows)


def encode_png(image: np.ndarray) -> bytes:
    """Encode an RGB image as the bytes of a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
