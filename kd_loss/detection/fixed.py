"""Detectors that return a known position instead of searching."""

from __future__ import annotations

import numpy as np

from kd_loss.detection.base import Detection
from kd_loss.system.errors import UserError


class FixedBox:
    """One face at a position set by the user: its landmark box `(x, y, width, height)`."""

    def __init__(self, box: tuple[float, float, float, float]):
        self._box = box

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Return that box for every image; raises a `UserError` if it lies outside the image."""
        x, y, width, height = self._box
        if x + width < 0 or y + height < 0 or x > image.shape[1] or y > image.shape[0]:
            where = ",".join(f"{value:g}" for value in self._box)
            raise UserError(f"the box {where} is outside the image ({image.shape[1]} × {image.shape[0]})")
        return [Detection(self._box, 1.0, exact=True)]


class WholePicture:
    """Treats an image as one face, cropped as in training: with `margin` at each end of the landmark box."""

    def __init__(self, margin: float):
        self._margin = margin

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The landmark box whose crop is the square around the image."""
        height, width = image.shape[:2]
        side = max(height, width) / (1 + 2 * self._margin)
        corner = ((width - side) / 2 - 0.5, (height - side) / 2 - 0.5)
        return [Detection((*corner, side, side), 1.0, exact=True)]
