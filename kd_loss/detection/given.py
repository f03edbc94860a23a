"""Faces whose place is given, not found."""

from __future__ import annotations

import numpy as np

from kd_loss.detection.base import Detection


class FixedBox:
    """One face at a place that the user gives: the box of its landmarks `(x, y, width, height)`."""

    def __init__(self, box: tuple[float, float, float, float]):
        self._box = box

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """That box, in every picture."""
        return [Detection(self._box, 1.0, exact=True)]


class WholePicture:
    """A picture is one cropped face, cut as in training: with `margin` on each end of the landmarks' box."""

    def __init__(self, margin: float):
        self._margin = margin

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The landmark box whose crop is the square around the picture."""
        height, width = image.shape[:2]
        side = max(height, width) / (1 + 2 * self._margin)
        corner = ((width - side) / 2 - 0.5, (height - side) / 2 - 0.5)
        return [Detection((*corner, side, side), 1.0, exact=True)]
