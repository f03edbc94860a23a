"""Conversion from a detector's box to the landmark box of a scheme.

Every detector here returns the box of the 68 landmarks of 300W. The landmarks of another scheme have another box (five
points: eyes to mouth), at an approximately fixed position relative to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from kd_loss.detection.base import Detection, Detector
from kd_loss.imaging import geometry
from kd_loss.system.arguments import number_of
from kd_loss.system.errors import UserError
from kd_loss.system.files import Json

#: fewest faces for a calibration, and as many as it needs
FEWEST, ENOUGH = 8, 200
#: smallest fraction of the faces that a detector must find: on other objects (cats) it finds some by chance
SHARE = 1 / 3
#: side of the area searched around a face not found in the whole photograph, in sides of its landmark box
SURROUNDINGS = 5.0


@dataclass(frozen=True)
class BoxCalibration:
    """The longer side and the centre of the landmark box, in sides of a detector's box.

    Attributes:
        x, y: from the centre of the detector's box to that of the landmark box.
        side: the longer side of the landmark box.
        faces: number of faces measured; 0 if the calibration was not measured.
        spread: standard deviations of x, y and side over these faces.
    """

    x: float = 0.0
    y: float = 0.0
    side: float = 1.0
    faces: int = 0
    spread: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("x", "y", "side", "faces"):
            number_of(getattr(self, name), name)

    def __call__(self, box: ArrayLike) -> tuple[float, float, float, float]:
        """Convert a detector's box `(x, y, width, height)` to the landmark box."""
        left, top, width, height = (float(v) for v in np.asarray(box, np.float64))
        longer = max(width, height)
        centre_x, centre_y = left + width / 2 + self.x * longer, top + height / 2 + self.y * longer
        side = self.side * longer
        return centre_x - side / 2, centre_y - side / 2, side, side

    @classmethod
    def fit(cls, found: ArrayLike, landmarks: ArrayLike) -> BoxCalibration:
        """Means over faces: `found` (N, 4) boxes `(x, y, width, height)`, `landmarks` (N, 4) `(x0, y0, x1, y1)`."""
        boxes, truth = np.asarray(found, np.float64), np.asarray(landmarks, np.float64)
        longer = boxes[:, 2:].max(axis=1)
        shift = ((truth[:, :2] + truth[:, 2:]) / 2 - boxes[:, :2] - boxes[:, 2:] / 2) / longer[:, None]
        rows = np.column_stack([shift, (truth[:, 2:] - truth[:, :2]).max(axis=1) / longer])
        (x, y, side), spread = rows.mean(axis=0), rows.std(axis=0)
        return cls(float(x), float(y), float(side), len(rows), (float(spread[0]), float(spread[1]), float(spread[2])))

    def to_dict(self) -> Json:
        """Plain values, rounded to a ten-thousandth."""
        values = asdict(self)
        return {
            **{key: round(values[key], 4) for key in ("x", "y", "side")},
            "faces": self.faces,
            "spread": [round(value, 4) for value in self.spread],
        }

    @classmethod
    def from_dict(cls, values: Json, where: str) -> BoxCalibration:
        """Restore from `to_dict`; empty values mean a scheme that was not measured, malformed ones a `UserError`."""
        if not values:
            return cls()
        try:
            x, y, side = (float(values[key]) for key in ("x", "y", "side"))
            across, down, size = (float(v) for v in values.get("spread", (0, 0, 0)))
            faces = int(values.get("faces", 0))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where} has a malformed calibration") from None
        if not np.isfinite([x, y, side, across, down, size]).all() or not 0.02 < side < 50 or max(abs(x), abs(y)) > 20:
            raise UserError(f"{where} has an impossible calibration")
        return cls(x, y, side, faces, (across, down, size))


def measure(
    faces: Iterable[tuple[Callable[[], np.ndarray], np.ndarray]], detector: Detector
) -> tuple[BoxCalibration | None, int]:
    """Measure a scheme's calibration; also returns the number of faces searched.

    A detection matches an annotated face if the landmarks' mean lies in its box and in no other detection's. A face
    too small for the detector in a photograph of a crowd is searched again in its surroundings alone: this measures
    the position of the box, not the smallest detectable face.

    Args:
        faces: functions that return an image (H, W, 3) uint8 RGB, and its landmarks (K, 2), NaN where not
            annotated.
        detector: an image (H, W, 3) uint8 RGB -> its faces.

    Returns:
        The calibration, None if too few faces or too small a fraction of them were found; and the number searched.
    """
    found: list[tuple[float, float, float, float]] = []
    boxes: list[np.ndarray] = []
    looked = 0
    for load, landmarks in faces:
        if len(found) == ENOUGH:
            break
        known = landmarks[np.isfinite(landmarks).all(axis=1)]
        if len(known) < 2:
            continue
        looked += 1
        image, middle, box = load(), known.mean(axis=0), geometry.landmark_box(known)
        here = [face.box for face in detector(image) if _inside(middle, face)]
        here = here or _closer(image, middle, box, detector)
        if len(here) == 1:
            found.append(here[0])
            boxes.append(box)
    known_to_it = len(found) >= max(FEWEST, SHARE * looked)
    return (BoxCalibration.fit(found, boxes) if known_to_it else None), looked


def _closer(
    image: np.ndarray, middle: np.ndarray, box: np.ndarray, detector: Detector
) -> list[tuple[float, float, float, float]]:
    """The boxes that a detector finds in a face's surroundings, in pixels of the whole photograph."""
    half = SURROUNDINGS * float((box[2:] - box[:2]).max()) / 2
    low = np.maximum(np.floor(middle - half), 0).astype(int)
    high = np.minimum(np.ceil(middle + half) + 1, image.shape[1::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    if min(part.shape[:2]) < 2 or part.shape == image.shape:
        return []
    found = [face.box for face in detector(np.ascontiguousarray(part)) if _inside(middle - low, face)]
    return [(x + float(low[0]), y + float(low[1]), width, height) for x, y, width, height in found]


def _inside(point: np.ndarray, face: Detection) -> bool:
    x, y, width, height = face.box
    return bool(x <= point[0] <= x + width and y <= point[1] <= y + height)
