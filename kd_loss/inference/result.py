"""What a predictor returns for one face."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from kd_loss.archives.pts import format_pts
from kd_loss.detection.base import check_box
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import check_picture
from kd_loss.inference.smoothing import OneEuroFilter
from kd_loss.schemes.drawing import draw_landmarks, draw_pose
from kd_loss.schemes.head_pose import HeadPose, head_pose
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.arguments import flag_of, wrong
from kd_loss.system.deprecation import RenamedAttribute, renamed_keywords
from kd_loss.system.files import Json, to_json


def confidence_of(spread: np.ndarray, half: float) -> np.ndarray:
    """Confidence 0…1 from a network's spread in crop sides: `1 / (1 + (spread / half)²)`.

    It measures how concentrated a heatmap is, or how well two predictions agree, and is monotone; it is no probability.

    >>> confidence_of(np.array([0.0, 0.05]), 0.05).tolist()
    [1.0, 0.5]
    """
    return np.asarray(1 / (1 + np.square(np.asarray(spread, np.float64) / half)))


def visible_landmarks(landmarks: np.ndarray, visibility: np.ndarray | None) -> np.ndarray:
    """The landmarks (K, 2), NaN where a point is hidden: more likely than not.

    A hidden point is a guess, often outside of the face, which would turn the head. All points are kept if fewer than
    eight are visible.
    """
    if visibility is None or (np.asarray(visibility) >= 0.5).sum() < 8:
        return landmarks
    return np.where(np.asarray(visibility)[:, None] >= 0.5, landmarks, np.nan)


class Values:
    """A dataclass whose fields may be arrays: equal where all fields are, element by element; hashable then, too."""

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]
        return tuple((v.shape, v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        values = (getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]
        return hash(tuple(v.tobytes() for v in values if isinstance(v, np.ndarray)))


class Face(Values):
    """The base of landmark and pose results.

    Attributes:
        crop_box: `(x, y, width, height)` of the square that the network saw, in pixels of the image.
    """

    crop_box: tuple[float, float, float, float]
    box, around = RenamedAttribute("crop_box"), RenamedAttribute("landmark_box")

    def landmark_box(self) -> tuple[float, float, float, float]:
        """The box `(x, y, width, height)` of the landmarks; widened by the margin, it is a training crop."""
        raise NotImplementedError

    def to_dict(self) -> Json:
        """Plain values."""
        raise NotImplementedError

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return to_json(self.to_dict())


def about(face: Any) -> str:
    """The place of a face in its `repr`, after its kind."""
    box = ", ".join(f"{float(v):.1f}" for v in face.crop_box)
    score = "" if face.score is None else f", score={face.score:.3f}"
    number = "" if face.number is None else f", number={face.number}"
    return f", crop_box=({box}){score}{number}"


@renamed_keywords(box="crop_box", spec="scheme")
@dataclass(frozen=True, eq=False, repr=False)
class FaceLandmarks(Face):
    """The landmarks of one face.

    Attributes:
        landmarks: (K, 2) float64, pixels of the image, (x, y), the first pixel's centre at 0.
        crop_box: `(x, y, width, height)` of the network's square input, in the same pixels.
        scheme: the scheme of the landmarks.
        score: score of the detector, larger for surer; None without a detector.
        number: number of the face in a video, the same in all frames; None in a photograph.
        confidence: (K,) 0…1 per landmark, see `confidence_of`; None for a network without heatmaps, and for one
            whose heatmaps' spread does not predict its errors (`networks.card.MEANINGFUL`), unless mirrored.
        visibility: (K,) 0…1, how likely each landmark is visible: not covered, turned away or outside of the image;
            None for a network without this output (`train-student --visibility`).
    """

    landmarks: np.ndarray
    crop_box: tuple[float, float, float, float]
    scheme: LandmarkScheme
    score: float | None = None
    number: int | None = None
    confidence: np.ndarray | None = None
    visibility: np.ndarray | None = None
    spec = RenamedAttribute("scheme")

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, LandmarkScheme):
            raise wrong("scheme", self.scheme, "a kd_loss.LandmarkScheme")
        if not isinstance(self.landmarks, np.ndarray) or self.landmarks.ndim != 2 or self.landmarks.shape[1] != 2:
            raise wrong("landmarks", self.landmarks, "an array (K, 2) in pixels")
        check_box(self.crop_box, "crop_box")

    def __repr__(self) -> str:
        return f"FaceLandmarks({len(self.landmarks)} landmarks of {self.scheme.name}{about(self)})"

    def pose(self) -> HeadPose | None:
        """Estimated yaw, pitch and roll in degrees; None if the scheme does not determine them."""
        return head_pose(visible_landmarks(self.landmarks, self.visibility), self.scheme)

    def draw(self, image: np.ndarray, pose: bool = False) -> np.ndarray:
        """A copy of the image (H, W, 3) RGB with the landmarks, and optionally the head's axes."""
        check_picture(image)
        drawn = draw_landmarks(
            image, self.landmarks, self.scheme, confidence=self.confidence, visibility=self.visibility
        )
        angles = self.pose() if flag_of(pose, "pose") else None
        return drawn if angles is None else draw_pose(drawn, angles, self.landmarks)

    def landmark_box(self) -> tuple[float, float, float, float]:
        """The box `(x, y, width, height)` of the landmarks."""
        x0, y0, x1, y1 = (float(v) for v in geometry.landmark_box(self.landmarks))
        return x0, y0, x1 - x0, y1 - y0

    def plausible(self) -> bool:
        """Whether landmarks fill their crop as a face does.

        The network predicts a face for any input: on a wall, roughly the mean face at some place. A real face's
        landmarks take up most of a crop made around them, and share its centre.
        """
        x, y, side, _ = self.crop_box
        width, height = np.ptp(self.landmarks, axis=0)
        middle = np.asarray(geometry.landmark_box(self.landmarks)).reshape(2, 2).mean(axis=0)
        shift = np.abs(middle - [x, y] - side / 2)
        return bool(0.4 < max(width, height) / side < 1.1 and shift.max() < 0.3 * side)

    def smoothed(self, smoother: OneEuroFilter, seconds: float | None = None) -> FaceLandmarks:
        """The face with filtered landmarks; `seconds` since the previous frame."""
        return replace(self, landmarks=smoother(self.landmarks, seconds))

    def cells(self) -> list[str]:
        """Further cells of a table: coordinates, confidences and visibilities if there are any, to a thousandth."""
        more = [values for values in (self.confidence, self.visibility) if values is not None]
        return [f"{v:.3f}" for v in np.concatenate([self.landmarks.reshape(-1), *more])]

    def to_dict(self) -> Json:
        """Plain values: scheme, box, score, pose in degrees, landmarks rounded to a thousandth of a pixel."""
        pose = self.pose()
        return {
            "scheme": self.scheme.name,
            **({} if self.number is None else {"number": self.number}),
            "box": [round(float(v), 3) for v in self.crop_box],
            "score": None if self.score is None else round(self.score, 3),
            "pose": None if pose is None else {name: round(value, 1) for name, value in asdict(pose).items()},
            "landmarks": np.round(self.landmarks, 3).tolist(),
            **({} if self.confidence is None else {"confidence": np.round(self.confidence, 3).tolist()}),
            **({} if self.visibility is None else {"visibility": np.round(self.visibility, 3).tolist()}),
        }

    def to_pts(self) -> str:
        """The text of a `.pts` file, whose coordinates start at 1."""
        return format_pts(self.landmarks)
