"""What predictors of landmarks and of poses share: detection, cropping, and the way back to pixels of the image."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from kd_loss.detection import BoxCalibration, Detection, open_detector
from kd_loss.detection.base import overlaps
from kd_loss.imaging import geometry
from kd_loss.imaging.crop import crop_face
from kd_loss.imaging.pictures import check_picture
from kd_loss.inference.result import Face
from kd_loss.inference.sources import read_picture
from kd_loss.inference.weights import default_weights, without_keras
from kd_loss.runtimes.crop_network import CropNetwork, mirrored, open_network
from kd_loss.system.arguments import flag_of, function_of, list_of, path_of, shown, whole_of
from kd_loss.system.bundled import weights_path
from kd_loss.system.deprecation import renamed_keywords
from kd_loss.system.errors import UserError

#: a photograph (H, W, 3) uint8 RGB -> its faces
Detector = Callable[[np.ndarray], list[Detection]]

#: the input of a predictor: an image file, or an image (H, W, 3) uint8 RGB
Source = str | os.PathLike[str] | np.ndarray
#: number of photographs held in memory and predicted together
TOGETHER = 16
#: pixels: the shortest and the longest box of a face, and its largest distance from the image's origin
SHORTEST, LONGEST = 0.01, 1e6
#: a face is cropped again if the box of its prediction differs from that of its crop by more of its side. Augmentation
#: shows networks crops that differ by about as much; what a second look gains below was measured (docs/detection.md)
SETTLED = 0.08
#: a face cropped again is none if the box of its prediction moves or changes its size by more of its side, or if it is
#: less than this part of the detector's box: on what is no face, predictions wander and shrink
WANDERS, SHRINKS = 0.15, 0.4
#: nor is it one if the mean visibility of its landmarks is less; of a profile it is about a half
SEEN = 0.3
#: two predictions are of one face if their squares overlap by more (intersection over union)
TWICE = 0.5
#: from so many landmarks on, their box has a face's shape
LEAST_POINTS = 5
#: whether the student is that under a free licence -> the default detector. The finder learned from photographs for
#: research only, Haar's cascade comes with OpenCV
DETECTOR = {False: "finder", True: "haar"}
#: only one thread may open a detector, while the output of native libraries is hidden
_OPENING = threading.Lock()

F = TypeVar("F", bound=Face)


def check_refine(refine: int) -> None:
    """Raises a `UserError` for an invalid `refine`."""
    if not isinstance(refine, int | np.integer) or isinstance(refine, bool) or not 0 <= refine <= 10:
        raise UserError(f"refine = {shown(refine)} is not a whole number in 0…10")


def squares_of(
    images: Sequence[np.ndarray], boxes: Sequence[ArrayLike | None] | None, margin: float
) -> list[np.ndarray]:
    """The crop of each image: around its box `(x, y, width, height)` with the margin, or the whole without a box."""
    squares = []
    images = list_of(images, "images", "a list of images")
    listed = [] if boxes is None else list_of(boxes, "boxes", "a list of boxes, one for each image")
    given: Sequence[ArrayLike | None] = listed or [None] * len(images)
    if len(given) != len(images):
        raise UserError(f"{len(images)} images and {len(given)} boxes: give one box, or None, for each image")
    for image, box in zip(images, given, strict=True):
        check_picture(image)
        if box is None:
            height, width = image.shape[:2]
            squares.append(geometry.square_crop((-0.5, -0.5, width - 0.5, height - 0.5), 0.0))
        else:
            try:
                numbers = np.asarray(box, np.float64)
            except (TypeError, ValueError, OverflowError):
                numbers = np.zeros(0)
            sound = numbers.shape == (4,) and bool((np.abs(numbers) <= LONGEST).all())  # false of a NaN, too
            if not sound or numbers[2:].min() < 0 or numbers[2:].max() < SHORTEST:
                raise UserError(
                    f"a box of {shown(box)} is not (x, y, width, height) in pixels, its longer side {SHORTEST:g} or "
                    f"more, no number beyond {LONGEST:,.0f}"
                )
            x, y, width, height = numbers
            squares.append(geometry.square_crop((x, y, x + width, y + height), margin))
    return squares


class Predictor(Generic[F]):
    """Finds the faces of photographs and predicts the network's targets for each.

    Attributes:
        network, card: the network that predicts from a crop, and its card.
        calibration: from a detector's boxes to landmark boxes.
        detector: finds the faces; opened at the first photograph.
        refine: how often, at most, a face is cropped again around its prediction.
        settled: a face whose prediction lies where its crop supposed, within this share of its side, is not cropped
            again; 0: every face is, `refine` times.
        confirm: whether a face that the network does not confirm is left out (`confirmed`).
    """

    settled: float = SETTLED

    def __init__(
        self, network: CropNetwork, detector: str | Detector = "finder", refine: int = 1, confirm: bool = True
    ):
        check_refine(refine)
        if not isinstance(detector, str) and not callable(detector):
            told = shown(detector)
            raise UserError(f"detector = {told} is neither the name of a detector nor a function of an image")
        if not isinstance(network, CropNetwork):
            raise UserError(f"network is {shown(network)}; LandmarkPredictor.load(path) opens one")
        self.network, self.card = network, network.card
        self.calibration = BoxCalibration.from_dict(network.card.calibration, "the network's card")
        self.refine, self._detector, self.confirm = refine, detector, flag_of(confirm, "confirm")

    @classmethod
    @renamed_keywords(mirror="flip_test")
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        threads: int | None = None,
        *,
        detector: str | Detector | None = None,
        refine: int = 1,
        flip_test: bool = False,
        points: int = 68,
        free: bool = False,
        confirm: bool = True,
    ) -> Self:
        """Load weights by their suffix, `.h5`, `.keras`, `.onnx` or `.tflite`; default: the shipped student.

        Args:
            path: see `open_network`, or the name of a shipped student, e.g. `"student_w300_tiny"`; None: the default.
            threads: number of threads of the runtime; None: two in LiteRT, one on a single core; others have defaults
                of their own.
            detector: a name of `detection.DETECTORS` that needs no file, or the result of `open_detector`; None: the
                finder, or with `free` Haar's cascade, because the finder learned from photographs for research only.
            refine: how often, at most, a face is cropped again around its prediction, 0…10; faces that their crop
                already fits are left alone (`settled`).
            flip_test: average the predictions on a face and its mirror image, which also gives a confidence
                (`runtimes.crop_network.mirrored`).
            points: without a path, the shipped student of 68, 98 or 29 landmarks.
            free: without a path, the shipped student under the MIT licence, less accurate, 68 landmarks.
            confirm: leave out what the network does not confirm as a face (`confirmed`).

        Raises:
            UserError: the file does not exist or is no network of this package; `refine` is out of range.
        """
        flag_of(flip_test, "flip_test")
        if threads is not None:
            threads = whole_of(threads, "threads", 1, 1024)
        if path is None:
            weights = without_keras(Path(default_weights(points, free)))
        elif flag_of(free, "free"):
            raise UserError("free chooses a shipped student; give it without a path")
        else:
            given = path_of(path, "path")
            weights = weights_path(given)
            if weights != given:  # a shipped student's name: as without a path, without Keras if that is possible
                weights = without_keras(weights)
        detector = DETECTOR[free] if detector is None else detector
        network = open_network(weights, threads)
        return cls(mirrored(network) if flip_test else network, detector, refine, confirm)

    @property
    def detector(self) -> Detector:
        """A photograph (H, W, 3) uint8 RGB -> its faces."""
        with _OPENING:
            if isinstance(self._detector, str):
                self._detector = open_detector(self._detector, margin=self.card.margin)
            return self._detector

    @overload
    def __call__(self, source: Source) -> list[F]: ...

    @overload
    def __call__(self, source: Sequence[Source]) -> list[list[F]]: ...

    def __call__(self, source: Source | Sequence[Source]) -> list[F] | list[list[F]]:
        """The faces of a photograph, the largest first; for a list of photographs, a list for each.

        `source` is a file, rotated by its EXIF orientation, an image (H, W, 3) uint8 RGB, or a list of either.
        The predictions are in pixels of the image.

        Raises:
            UserError: a file is no image, or an array has another form.
        """
        if isinstance(source, str | bytes | bytearray) or not isinstance(source, Sequence):
            return self.detect(_picture(source), self.detector, self.refine)  # type: ignore[arg-type]
        found: list[list[F]] = []
        for start in range(0, len(source), TOGETHER):
            images = [_picture(one) for one in source[start : start + TOGETHER]]
            found += self.detect_many(images, self.detector, self.refine)
        return found

    @property
    def columns(self) -> list[str]:
        """Columns of the faces' `cells`."""
        raise NotImplementedError

    def smoother(self, cutoff: float, rate: float) -> Any:
        """A filter for one face of a video, for its `smoothed`; `cutoff` in Hz, `rate` in frames per second."""
        raise NotImplementedError

    def predict_squares(self, images: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> list[F]:
        """One face per image, seen in its square `(x, y, side)` in pixels."""
        raise NotImplementedError

    def predict_crop(self, image: np.ndarray, box: ArrayLike | None = None) -> F:
        """Predicts one face without detection: the face in `box` of an image (H, W, 3) uint8 RGB.

        `box` is the landmark box `(x, y, width, height)`, e.g. a face's `landmark_box()`, and is widened as in
        training; without a box the whole image counts as a cropped face.
        """
        return self.predict_many([image], [box])[0]

    def predict_many(self, images: Sequence[np.ndarray], boxes: Sequence[ArrayLike | None] | None = None) -> list[F]:
        """Predicts one face per image (H, W, 3) uint8 RGB, in one batch.

        `boxes` are landmark boxes `(x, y, width, height)` in pixels, or None for an image that is one cropped face.
        Raises a `UserError` for an image or a box of another form.
        """
        squares = squares_of(images, boxes, self.card.margin)
        return self.predict_squares(images, squares) if squares else []

    def detect(self, image: np.ndarray, detector: Detector, refine: int = 1) -> list[F]:
        """Predicts every face that the detector finds in a photograph (H, W, 3) uint8 RGB, the largest first.

        A detector's box is rough: a face whose prediction lies elsewhere than its crop supposed is cropped again
        around it, as the training crops were, up to `refine` times. What the network does not confirm as a face is
        left out (`confirmed`), and of two predictions of one face the second (`distinct`).
        """
        return self.detect_many([image], detector, refine)[0]

    def detect_many(self, images: Sequence[np.ndarray], detector: Detector, refine: int = 1) -> list[list[F]]:
        """`detect` for several photographs, whose faces form one batch."""
        check_refine(refine)
        function_of(detector, "detector", "a function of images, e.g. kd_loss.open_detector('finder')")
        images = list_of(images, "images", "a list of images")
        for image in images:
            check_picture(image)
        found = [_detections(detector(image)) for image in images]
        owners = [number for number, here in enumerate(found) for _ in here]
        if not owners:
            return [[] for _ in images]
        answers = [face for here in found for face in here]
        boxes = [face.box if face.exact else self.calibration(face.box) for face in answers]
        pictures = [images[number] for number in owners]
        faces = self.predict_many(pictures, boxes)
        last = list(boxes)
        for _ in range(refine):
            again = [i for i, face in enumerate(faces) if drift(face.landmark_box(), last[i]) > self.settled]
            for i in again:
                last[i] = faces[i].landmark_box()
            anew = self.predict_many([pictures[i] for i in again], [last[i] for i in again])
            for i, face in zip(again, anew, strict=True):
                faces[i] = face
        seen: list[list[F]] = [[] for _ in images]
        for face, answer, box, before, owner in zip(faces, answers, boxes, last, owners, strict=True):
            if answer.exact or not self.confirm or confirmed(face, box, before if refine else None):
                seen[owner].append(replace(face, score=answer.score))  # type: ignore[type-var]
        # exact boxes are somebody's own, and none of them is dropped
        own = [not self.confirm or any(answer.exact for answer in here) for here in found]
        return [here if keep else distinct(here) for here, keep in zip(seen, own, strict=True)]

    def crops(self, images: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> np.ndarray:
        """The squares of images as network input (N, S, S, 3) uint8."""
        return np.stack([crop_face(i, s, self.card.size) for i, s in zip(images, squares, strict=True)])


def confirmed(face: Any, box: Sequence[float], before: Sequence[float] | None) -> bool:
    """Whether a network confirms what a detector took for a face.

    A network predicts a face for any input. On a real one its prediction fills the crop as a face does, lies where
    that crop supposed it, be it the detector's or the next, and its landmarks are visible, if the network predicts
    that.

    Args:
        face: the last prediction.
        box: the landmark box `(x, y, width, height)` from the detector.
        before: the landmark box of the crop in which it was made; None with `refine` 0.
    """
    now = face.landmark_box()
    landmarks = getattr(face, "landmarks", ())
    if (len(landmarks) >= LEAST_POINTS and not face.plausible()) or max(now[2:]) < SHRINKS * max(box[2:]):
        return False
    visibility = getattr(face, "visibility", None)
    if visibility is not None and np.mean(visibility) < SEEN:
        return False
    return before is None or drift(now, before) <= WANDERS


def distinct(faces: list[F]) -> list[F]:
    """Leave out predictions of a face that another one has: their squares overlap by more than `TWICE`.

    A detector may propose a profile twice, in boxes too far apart to be merged; the predictions in both agree. The
    first one stays.
    """
    kept: list[F] = []
    squares = np.zeros((0, 4))
    for face in faces:
        x, y, width, height = face.landmark_box()
        square = np.array(box_of(geometry.square_crop((x, y, x + width, y + height), 0.0)))
        if (overlaps(square, squares) <= TWICE).all():
            kept.append(face)
            squares = np.vstack([squares, square])
    return kept


def drift(box: Sequence[float], before: Sequence[float]) -> float:
    """How far a box `(x, y, width, height)` is from another, or how much larger or smaller, over the larger side.

    >>> drift((10, 10, 100, 80), (0, 10, 100, 80)), drift((0, 0, 50, 50), (0, 0, 100, 100))
    (0.1, 0.5)
    """
    (x, y, width, height), side, old = box, max(box[2:]), max(before[2:])
    across = abs(x + width / 2 - before[0] - before[2] / 2)
    down = abs(y + height / 2 - before[1] - before[3] / 2)
    return max(across, down, abs(side - old)) / max(side, old)


def _detections(found: Any) -> list[Detection]:
    """What a detector of the user's own returned, checked."""
    if not isinstance(found, list | tuple) or not all(isinstance(face, Detection) for face in found):
        raise UserError(f"the detector returned {shown(found)}; a list of kd_loss.Detection is wanted")
    return list(found)


def box_of(square: np.ndarray) -> tuple[float, float, float, float]:
    """A square `(x, y, side)` as `(x, y, width, height)`."""
    x, y, side = (float(v) for v in square)
    return x, y, side, side


def check_answers(answers: np.ndarray) -> np.ndarray:
    """A network's predictions as float64; raises a `UserError` if they are not finite."""
    if not np.isfinite(answers).all():
        raise UserError("the network returns numbers that are not finite; its weights are damaged")
    return np.asarray(answers, np.float64)


def _picture(source: Source) -> np.ndarray:
    if isinstance(source, str | os.PathLike):
        return read_picture(path_of(source, "source"))
    if hasattr(source, "convert") and hasattr(source, "getbands"):  # an image of PIL
        return np.asarray(source.convert("RGB"))
    if not isinstance(source, np.ndarray):
        kinds = "a file, an image (H, W, 3) uint8 RGB, or a list of either"
        raise UserError(f"a photograph is {kinds}, not {type(source).__name__}")
    return source
