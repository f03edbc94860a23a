"""The interface of detectors: a detected face with its estimated landmark box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np

from kd_loss.system.arguments import number_of, wrong

#: images are searched at this longer side, for faces of at least a twentieth of it
SEARCHED = 640


@dataclass(frozen=True)
class Detection:
    """A face: `box` is the estimated landmark box `(x, y, width, height)` in pixels; a higher `score` is surer.

    The box is that of the 68 landmarks of 300W, however the detector defines its own; another scheme's box is
    derived from it (`calibration.BoxCalibration`). `exact` marks a known box of the scheme's own landmarks.
    """

    box: tuple[float, float, float, float]
    score: float
    exact: bool = False

    def __post_init__(self) -> None:
        check_box(self.box, "box")
        number_of(self.score, "score")


def check_box(box: Any, name: str) -> None:
    """Raises a `UserError` for anything but four numbers `(x, y, width, height)`."""
    try:
        sound = isinstance(box, tuple | list | np.ndarray) and np.asarray(box, np.float64).shape == (4,)
    except (TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise wrong(name, box, "(x, y, width, height) in pixels")


#: a photograph (H, W, 3) uint8 RGB -> its faces, the largest first
Detector = Callable[[np.ndarray], list[Detection]]


class Reopened:
    """A detector that pickles its constructor arguments and reopens its file in the other process."""

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Record the arguments of `__init__`."""
        self = super().__new__(cls)
        self._made_with = arguments, options
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the class and its constructor arguments."""
        return _make, (type(self), *self._made_with)


def _make(cls: type, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return cls(*arguments, **options)


def square_at(centre: np.ndarray, side: float, score: float) -> Detection:
    """A detection of a square landmark box around `centre` (2,) in pixels."""
    x, y = (float(v) for v in np.asarray(centre) - side / 2)
    return Detection((x, y, float(side), float(side)), float(score))


def shrink(image: np.ndarray, longest: int = SEARCHED) -> tuple[np.ndarray, float]:
    """Shrink an image to at most `longest` pixels on its longer side; also returns the scale, 1 if unchanged."""
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale == 1:
        return image, scale
    size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def largest_first(found: list[Detection]) -> list[Detection]:
    """Sort faces by the width of their boxes, widest first."""
    return sorted(found, key=lambda face: -face.box[2])


def overlaps(first: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of one box (4,) with boxes (N, 4), each `(x, y, width, height)`."""
    low = np.maximum(first[:2], boxes[:, :2])
    high = np.minimum(first[:2] + first[2:4], boxes[:, :2] + boxes[:, 2:4])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = first[2] * first[3] + boxes[:, 2] * boxes[:, 3] - common
    return common / np.maximum(union, 1e-9)


def merge_boxes(values: np.ndarray, scores: np.ndarray, limit: float) -> list[tuple[np.ndarray, float]]:
    """Merge the boxes of one face into their mean weighted by score, with the best score.

    As in BlazeFace (Bazarevsky et al., 2019): blending instead of suppression, which jitters less.

    Args:
        values: (N, 4 or more), `(x, y, width, height)` and any further values of a face.
        scores: (N,) scores of the boxes, larger for surer; the weights of the mean.
        limit: boxes that overlap the best one by more (intersection over union) belong to its face.
    """
    left = np.argsort(-scores, kind="stable")
    merged = []
    while len(left):
        best = left[0]
        same = overlaps(values[best], values[left]) > limit
        same[0] = True
        members = left[same]
        weights = scores[members] / scores[members].sum()
        merged.append((weights @ values[members], float(scores[best])))
        left = left[~same]
    return merged
