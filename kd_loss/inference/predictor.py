"""From images to landmarks in their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.inference.base import TOGETHER as TOGETHER
from kd_loss.inference.base import Detector, Predictor, box_of, check_answers
from kd_loss.inference.result import FaceLandmarks, confidence_of
from kd_loss.inference.smoothing import OneEuroFilter
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.system.deprecation import RenamedAttribute


class LandmarkPredictor(Predictor[FaceLandmarks]):
    """Finds faces in photographs, and their landmarks.

    >>> predictor = LandmarkPredictor.load()                       # doctest: +SKIP
    >>> for face in predictor("photo.jpg"):                        # doctest: +SKIP
    ...     print(face.landmarks.shape, face.score)
    (68, 2) 0.93

    Attributes:
        scheme: the scheme of the landmarks; others: see `Predictor`.
    """

    spec = RenamedAttribute("scheme")

    def __init__(
        self, network: CropNetwork, detector: str | Detector = "finder", refine: int = 1, confirm: bool = True
    ):
        super().__init__(network, detector, refine, confirm)
        self.scheme = network.card.landmark_scheme()

    @property
    def columns(self) -> list[str]:
        """Columns of `FaceLandmarks.cells`: coordinates, and confidences and visibilities if the network has them."""
        points, network = range(self.scheme.points), self.network
        names = [f"{axis}{i}" for i in points for axis in "xy"] + [f"confidence{i}" for i in points if network.half]
        return names + [f"visibility{i}" for i in points if network.card.visibility]

    def smoother(self, cutoff: float, rate: float) -> OneEuroFilter:
        """A filter for one face of a video."""
        return OneEuroFilter(cutoff, rate)

    def predict_squares(self, images: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> list[FaceLandmarks]:
        """The landmarks of one face per image, seen in its square `(x, y, side)` in pixels."""
        answers, spread, visible = self.network.predict_all(self.crops(images, squares))
        faces = []
        spreads, sights = ([None] * len(answers) if values is None else values for values in (spread, visible))
        for normalised, square, wide, seen in zip(check_answers(answers), squares, spreads, sights, strict=True):
            points = geometry.apply(geometry.invert(geometry.normalised_affine(square)), normalised)
            half = self.network.half
            confidence = None if wide is None or half is None else confidence_of(wide, half)
            found = FaceLandmarks(points, box_of(square), self.scheme, confidence=confidence)
            faces.append(found if seen is None else replace(found, visibility=np.asarray(seen, np.float64)))
        return faces
