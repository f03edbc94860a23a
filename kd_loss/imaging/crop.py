"""The square of an image that a network sees."""

from __future__ import annotations

import cv2
import numpy as np

from kd_loss.imaging import geometry

#: largest side in pixels that OpenCV can warp
MAX_SIDE = (1 << 15) - 2


def crop_face(image: np.ndarray, square: np.ndarray, size: int) -> np.ndarray:
    """Crop a square of an image and resize it to (size, size, 3); black outside the image.

    Shrinking by two or more averages pixels first to avoid aliasing.
    """
    affine = geometry.crop_affine(square, size)
    factor = max(1, min(int(1 / affine[0, 0] + 1e-6), *image.shape[:2]))
    if factor > 1 or max(image.shape[:2]) > MAX_SIDE:
        # average whole blocks of factor × factor pixels; (p + 0.5) / factor − 0.5 is the new place
        image, corner = _blocks(image, square, factor)
        small = (image.shape[1] // factor, image.shape[0] // factor)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        grow = np.array([[factor, 0, (factor - 1) / 2 + corner[0]], [0, factor, (factor - 1) / 2 + corner[1]]])
        affine = geometry.compose(affine, grow)
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)


def _blocks(image: np.ndarray, square: np.ndarray, factor: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of an image that a square covers, in whole blocks of `factor` pixels, and its corner.

    Avoids processing a whole photograph of 8,000 pixels for one face.
    """
    starts, ends = [], []
    for first, length in ((square[0], image.shape[1]), (square[1], image.shape[0])):
        count = length // factor
        start = min(max(int(np.floor(first / factor)) - 2, 0), count - 1)
        end = max(min(int(np.ceil((first + square[2]) / factor)) + 3, count), start + 1)
        starts.append(start * factor)
        ends.append(end * factor)
    return image[starts[1] : ends[1], starts[0] : ends[0]], (starts[0], starts[1])
