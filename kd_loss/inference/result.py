"""What a predictor returns for one face."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from kd_loss.datasets.pts import format_pts
from kd_loss.datasets.spec import DatasetSpec
from kd_loss.inference.drawing import draw_landmarks


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of one face.

    Attributes:
        landmarks: (K, 2) float64, pixels of the picture, (x, y), the first pixel's centre at 0.
        box: `(x, y, width, height)` of the square that the network saw, in the same pixels.
        spec: the scheme of the landmarks.
        score: of the detector that found the face, larger for surer; None without one.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    spec: DatasetSpec
    score: float | None = None

    def draw(self, image: np.ndarray) -> np.ndarray:
        """A copy of the picture (H, W, 3) RGB with the landmarks on it."""
        return draw_landmarks(image, self.landmarks, self.spec)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: scheme, box, score and landmarks, rounded to a thousandth of a pixel."""
        return {
            "scheme": self.spec.name,
            "box": [round(float(v), 3) for v in self.box],
            "score": None if self.score is None else round(self.score, 3),
            "landmarks": np.round(self.landmarks, 3).tolist(),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict())

    def to_pts(self) -> str:
        """The text of a `.pts` file, whose coordinates start at 1."""
        return format_pts(self.landmarks)
