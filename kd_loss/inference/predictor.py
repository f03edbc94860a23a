"""From pictures to landmarks in their own pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from kd_loss import geometry
from kd_loss.crop import crop_face
from kd_loss.detection import BoxCalibration, Detection
from kd_loss.errors import UserError
from kd_loss.inference.result import FaceLandmarks, confidence_of
from kd_loss.inference.smoothing import OneEuroFilter
from kd_loss.runtimes.crops import CropNetwork, open_network

#: a photograph (H, W, 3) uint8 RGB -> its faces
Detector = Callable[[np.ndarray], list[Detection]]


def check_picture(image: np.ndarray) -> None:
    """A `UserError` for an array that is no picture (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
        raise UserError(f"a picture of {image.shape} {image.dtype} is not (H, W, 3) uint8")


class LandmarkPredictor:
    """Finds landmarks on crops of faces.

    >>> predictor = LandmarkPredictor.load("runs/w300/student-kd_loss/best.h5")   # doctest: +SKIP
    >>> face = predictor(image)                                                   # doctest: +SKIP
    >>> face.landmarks.shape                                                      # doctest: +SKIP
    (68, 2)
    """

    def __init__(self, network: CropNetwork):
        self.network, self.card = network, network.card
        self.spec = network.card.dataset_spec()
        self.calibration = BoxCalibration.from_dict(network.card.calibration, "the network's card")

    @classmethod
    def load(cls, path: str | Path, threads: int | None = None) -> LandmarkPredictor:
        """Open weights by their suffix, `.h5`, `.keras`, `.onnx` or `.tflite`; see `open_network`."""
        return cls(open_network(Path(path), threads))

    @property
    def columns(self) -> list[str]:
        """Columns of `FaceLandmarks.cells`: coordinates, and confidences where the network gives them."""
        points = range(self.spec.points)
        return [f"{axis}{i}" for i in points for axis in "xy"] + [
            f"confidence{i}" for i in points if self.card.confident
        ]

    def smoother(self, cutoff: float, rate: float) -> OneEuroFilter:
        """A filter for one face of a video."""
        return OneEuroFilter(cutoff, rate)

    def predict_crops(self, crops: np.ndarray) -> np.ndarray:
        """Normalised landmarks (N, K, 2) of crops (N, S, S, 3) uint8, RGB 0…255, S the network's size."""
        return self._ask(crops)[0]

    def _ask(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        landmarks, spread = self.network.ask(crops)
        if not np.isfinite(landmarks).all():
            raise UserError("the network answers with numbers that are not finite; its weights are damaged")
        return np.asarray(landmarks, np.float64), spread

    def __call__(self, image: np.ndarray, box: ArrayLike | None = None) -> FaceLandmarks:
        """The landmarks of the face in `box` of a picture (H, W, 3) uint8 RGB.

        `box` is the landmark box `(x, y, width, height)`, which is widened as in training; without one
        the whole picture is taken for a face already cropped.
        """
        return self.predict_many([image], [box])[0]

    def predict_many(
        self, images: Sequence[np.ndarray], boxes: Sequence[ArrayLike | None] | None = None
    ) -> list[FaceLandmarks]:
        """One face per picture (H, W, 3) uint8 RGB, in one batch.

        `boxes` are landmark boxes `(x, y, width, height)` in pixels, or None for a picture that is one cropped face.
        A `UserError` for a picture or a box of another form.
        """
        squares = []
        for image, box in zip(images, boxes or [None] * len(images), strict=True):
            check_picture(image)
            if box is None:
                height, width = image.shape[:2]
                squares.append(geometry.square_crop((-0.5, -0.5, width - 0.5, height - 0.5), 0.0))
            else:
                x, y, width, height = np.asarray(box, np.float64)
                squares.append(geometry.square_crop((x, y, x + width, y + height), self.card.margin))
        return self._in_squares(images, squares)

    def detect(self, image: np.ndarray, detector: Detector, refine: int = 1) -> list[FaceLandmarks]:
        """Every face that a detector finds in a photograph (H, W, 3) uint8 RGB, the largest first.

        A detector's box is a rough one: `refine` times, each face is cropped again from the landmarks that
        were found in it, as the training crops were.
        """
        found = detector(image)
        if not found:
            return []
        boxes = [face.box if face.exact else self.calibration(face.box) for face in found]
        faces = self.predict_many([image] * len(found), boxes)
        for _ in range(refine):
            squares = [geometry.square_crop(geometry.landmark_box(face.landmarks), self.card.margin) for face in faces]
            faces = self._in_squares([image] * len(faces), squares)
        return [replace(face, score=one.score) for face, one in zip(faces, found, strict=True)]

    def _in_squares(self, images: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> list[FaceLandmarks]:
        size = self.card.size
        crops = np.stack([crop_face(i, s, size) for i, s in zip(images, squares, strict=True)])
        faces = []
        landmarks, spread = self._ask(crops)
        spreads = [None] * len(crops) if spread is None else spread
        for image, normalised, square, wide in zip(images, landmarks, squares, spreads, strict=True):
            points = geometry.apply(geometry.invert(geometry.normalised_affine(square)), normalised)
            box = (square[0], square[1], square[2], square[2])
            where = tuple(float(v) for v in box)
            confidence = None if wide is None or not self.card.confident else confidence_of(wide)
            faces.append(
                FaceLandmarks(points, where, self.spec, picture=image.shape[:2], confidence=confidence)  # type: ignore[arg-type]
            )
        return faces
