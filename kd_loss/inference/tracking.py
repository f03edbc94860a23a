"""Tracks faces from frame to frame: each is cropped around its landmarks in the previous frame."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np

from kd_loss.detection.base import overlaps
from kd_loss.inference.base import Detector, F, Predictor, check_refine
from kd_loss.system.arguments import number_of, whole_of, wrong
from kd_loss.system.deprecation import RenamedAttribute, renamed_keywords

#: overlap above which a detection may be a tracked face
FOLLOWED = 0.3
#: overlap from which two detections are one face
SAME = 0.6
#: pixels: smallest and largest longer side of a tracked face
SMALLEST, LARGEST = 8.0, 1e5
#: a face that has shrunk to less of its side since the detector last saw it is none: a head does not go away so fast
#: between two looks, but predictions on an ear or a hand shrink from frame to frame
SHRUNK = 0.5


@dataclass
class _Track:
    number: int
    face: Any  # FaceLandmarks or FacePose, and its filter
    filter: Any
    side: float = 0.0  # when the detector last saw it
    unseen: int = 0


@renamed_keywords(every="detect_every")
class FaceTracker(Generic[F]):
    """Finds the faces of a video's frames, numbers them and optionally smooths them.

    The detector runs on every `detect_every`-th frame and whenever no face is tracked. In between, a face's crop is the
    square around its landmarks in the previous frame, which is both faster and steadier than a detector's box.
    A track ends when its landmarks leave their crop, or when the detector has missed it `patience` times.

    Args:
        refine: how often, at most, a newly found face is cropped again around its landmarks.
        cutoff: cutoff of the one-euro filter in Hz, 0 for none; rate: frames per second.
    """

    every = RenamedAttribute("detect_every")

    def __init__(
        self,
        predictor: Predictor[F],
        detector: Detector,
        *,
        refine: int = 1,
        detect_every: int = 10,
        patience: int = 6,
        cutoff: float = 0.0,
        rate: float = 25.0,
    ):
        if not (hasattr(predictor, "detect") and hasattr(predictor, "predict_many")):
            raise wrong("predictor", predictor, "a kd_loss.LandmarkPredictor")
        check_refine(refine)
        whole_of(detect_every, "detect_every", 1, sys.maxsize)
        whole_of(patience, "patience", 1, sys.maxsize)
        number_of(cutoff, "cutoff", 0, wanted="a number of Hz, 0 for none,")
        number_of(rate, "rate", 1e-3, wanted="a positive number of frames per second")
        self.predictor, self.detector, self.refine = predictor, detector, refine
        self.detect_every, self.patience, self.cutoff, self.rate = detect_every, patience, cutoff, rate
        self._tracks: list[_Track] = []
        self._frame = self._count = 0
        self._time: float | None = None

    def __call__(self, image: np.ndarray, time: float | None = None) -> list[F]:
        """The faces of the next frame (H, W, 3) uint8 RGB, each with its number from 1.

        `time` in seconds, for frames of unequal duration; default: from the rate.
        """
        time = None if time is None else number_of(time, "time", wanted="a number of seconds")
        seconds = None if time is None or self._time is None or time <= self._time else time - self._time
        self._time = time
        self._follow(image)
        if self._frame % self.detect_every == 0 or not self._tracks:
            self._look(image)
        self._frame += 1
        return [self._smooth(track, seconds) for track in self._tracks]

    def _follow(self, image: np.ndarray) -> None:
        if not self._tracks:
            return
        boxes = [track.face.landmark_box() for track in self._tracks]
        faces: Sequence[Any] = self.predictor.predict_many([image] * len(boxes), boxes)
        for track, face in zip(self._tracks, faces, strict=True):
            track.face = replace(face, score=track.face.score)
        self._tracks = [track for track in self._tracks if track.face.plausible() and _of_a_size(track)]

    def _look(self, image: np.ndarray) -> None:
        for track in self._tracks:
            track.unseen += 1
        faces: Sequence[Any] = self.predictor.detect(image, self.detector, self.refine)
        pairs = [(common, t, f) for f, face in enumerate(faces) for t, common in enumerate(self._overlaps(face))]
        known: dict[int, int] = {}  # face -> track, the best pair first
        for common, t, f in sorted(pairs, reverse=True):
            if common > FOLLOWED and f not in known and t not in known.values():
                known[f] = t
        for f, face in enumerate(faces):
            if f in known:
                track = self._tracks[known[f]]
                track.unseen, track.face = 0, replace(track.face, score=face.score)
                track.side = _side(track.face)
            elif face.plausible() and all(common < SAME for common in self._overlaps(face)):
                self._count += 1
                smoother = self.predictor.smoother(self.cutoff, self.rate) if self.cutoff else None
                self._tracks.append(_Track(self._count, face, smoother, _side(face)))
        self._tracks = [track for track in self._tracks if track.unseen < self.patience]

    def _overlaps(self, face: Any) -> list[float]:
        """Intersection over union of a face's box with those of the tracked faces."""
        boxes = np.array([track.face.landmark_box() for track in self._tracks]).reshape(-1, 4)
        return overlaps(np.array(face.landmark_box()), boxes).tolist()

    def _smooth(self, track: _Track, seconds: float | None) -> Any:
        face = track.face.smoothed(track.filter, seconds) if track.filter else track.face
        return replace(face, number=track.number)


def _side(face: Any) -> float:
    return float(max(face.landmark_box()[2:]))


def _of_a_size(track: _Track) -> bool:
    """Whether a tracked face is still one: a network's predictions may shrink to nothing from frame to frame."""
    return bool(max(SMALLEST, SHRUNK * track.side) <= _side(track.face) <= LARGEST)
