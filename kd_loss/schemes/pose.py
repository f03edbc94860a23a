"""Head poses as targets: (2, 3), a rotation vector, and x, y and log depth of the head's middle.

A crop shows a head's rotation relative to the ray through its middle, the position of its middle (x, y, normalised
to the crop), and its width there, as log depth = −log(width in crop sides). The distance of a head of width w crop
sides is 1/w focal lengths (in crop sides), in head widths. Under rotation, shift, scaling and mirroring of the crop
all six transform in closed form. Networks learn them standardised: minus the mean of the training faces, divided by
their deviation, number by number; the scheme stores both, and so do manifest and card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import CONVENTION, geodesic, to_matrices, to_vectors
from kd_loss.schemes import known_yaw
from kd_loss.schemes.base import HeadPlacement, Scheme
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
from kd_loss.schemes.generic_head import FOCAL, knows_head, pose_in_crop
from kd_loss.system.errors import UserError

#: largest yaw of a head pose in degrees: beyond it no face is visible
MOST_YAW = 99.0
#: ranges of |yaw| in degrees, as rows of a report
YAW_RANGES = ((0, 30), (30, 60), (60, 99))
#: smallest divisor in standardisation, so that nearly constant numbers are not amplified
LEAST_DEVIATION = 0.01
_MIRROR = np.array([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


@dataclass(frozen=True)
class PoseScheme:
    """The pose of a head in its crop.

    Attributes:
        name: of the dataset.
        points: name of the landmark scheme that places the crop and, if the archive has no pose, yields it by PnP;
            empty if the archive has both.
        source: the origin of the poses, in words.
        focal: focal length of the crop's camera in crop sides; it determines depth in head widths.
        mean, deviation: of the six numbers over the training faces: rotation vector in radians, x, y, log depth.
    """

    name: str
    points: str = ""
    source: str = ""
    focal: float = FOCAL
    mean: tuple[float, ...] = (0.0,) * 6
    deviation: tuple[float, ...] = (1.0,) * 6

    shape: ClassVar[tuple[int, int]] = (2, 3)
    noun: ClassVar[str] = "head pose"
    array: ClassVar[str] = "target"
    outputs: ClassVar[str] = "(B, 2, 3): rotation vector; x, y, log depth; less the scheme's mean, over its deviation"
    metric: ClassVar[str] = "degrees"
    metric_words: ClassVar[str] = "geodesic error in degrees"
    unit: ClassVar[str] = "°"
    predicted: ClassVar[str] = "poses"
    apart_unit: ClassVar[str] = "°"
    furthest: ClassVar[float] = 100.0
    mirrors: ClassVar[bool] = True
    official: ClassVar[Mapping[str, int]] = {}
    test_subsets: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        numbers = [*self.mean, *self.deviation, self.focal]
        sound = len(self.mean) == len(self.deviation) == 6 and all(
            isinstance(v, int | float) and math.isfinite(v) for v in numbers
        )
        if not sound or min(*self.deviation, self.focal) <= 0:
            raise UserError(f"pose scheme '{self.name}': mean and deviation are six finite numbers, deviation > 0")

    def raw(self, targets: np.ndarray) -> np.ndarray:
        """Convert standardised (…, 2, 3) to rotation vector in radians, and x, y in crop sides and log depth."""
        return np.asarray(targets, np.float64) * np.reshape(self.deviation, (2, 3)) + np.reshape(self.mean, (2, 3))

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """Standardise raw targets (…, 2, 3); the inverse of `raw`."""
        return (np.asarray(targets, np.float64) - np.reshape(self.mean, (2, 3))) / np.reshape(self.deviation, (2, 3))

    def fitted(self, targets: np.ndarray) -> PoseScheme:
        """The scheme with the mean and deviation of raw targets (B, 2, 3), of those that are known whole."""
        flat = np.asarray(targets, np.float64).reshape(len(targets), 6)
        flat = flat[~np.isnan(flat).any(axis=1)]
        deviation = np.maximum(flat.std(axis=0), LEAST_DEVIATION)
        return replace(self, mean=tuple(flat.mean(axis=0).tolist()), deviation=tuple(deviation.tolist()))

    def move(self, targets: np.ndarray, affine: np.ndarray, mirrored: bool) -> np.ndarray:
        """Transform (…, 2, 3) by a similarity: mirror, rotate by a about the line of sight, shift, scale by s.

        R becomes R_z(a) R (mirroring first flips the sign of the rotation vector's y and z), the middle transforms as
        a point, and log depth decreases by log s.
        """
        raw = self.raw(targets)
        matrix = np.asarray(affine, np.float64)
        middle = geometry.apply(matrix, raw[..., 1, :2])
        scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if mirrored:
            raw = raw * _MIRROR
        angle = math.atan2(-matrix[0, 1], matrix[1, 1])
        only = known_yaw.is_encoded(raw[..., 0, :])
        vectors = to_vectors(to_matrices([0.0, 0.0, angle]) @ to_matrices(known_yaw.level(raw[..., 0, :])))
        vectors[only] = known_yaw.moved(self.raw(targets)[..., 0, :][only], angle, mirrored)
        place = np.concatenate([middle, raw[..., 1, 2:] - math.log(scale)], axis=-1)
        return self.stored(np.stack([vectors, place], axis=-2))

    def training_error(self, truth: Any, predicted: Any) -> Any:
        """The geodesic angle between the rotations, in degrees, (B, 2, 3) each -> (B,)."""
        from keras import ops

        mean, deviation = (ops.convert_to_tensor(values[:3], "float32") for values in (self.mean, self.deviation))

        a, b = (known_yaw.to_quaternions(targets[:, 0] * deviation + mean) for targets in (truth, predicted))
        apart, together = ops.norm(a - b, axis=-1), ops.norm(a + b, axis=-1)
        # a quaternion and its negative are the same rotation; the arc tangent is exact where the cosine is flat
        small, large = ops.minimum(apart, together), ops.maximum(apart, together)
        return ops.arctan2(small, large) * (4 * 180 / np.pi)

    def completed(self, truth: Any, predicted: Any) -> Any:
        """The predicted position where it is unknown; of a face whose yaw alone is known the predicted pitch and roll.

        See `schemes.known_yaw`.
        """
        from keras import ops

        mean, deviation = (ops.convert_to_tensor(values[:3], "float32") for values in (self.mean, self.deviation))
        missing = ops.isnan(truth)
        only = ops.logical_and(missing[:, :1, 2:], ops.logical_not(missing[:, :1, :1]))
        known = ops.where(only[:, 0], truth[:, 0], 0.0) * deviation + mean
        turned = (known_yaw.completed(known, predicted[:, 0] * deviation + mean) - mean) / deviation
        rotation = ops.where(only, turned[:, None], ops.where(missing, predicted, truth)[:, :1])
        return ops.concatenate([rotation, ops.where(missing, predicted, truth)[:, 1:]], axis=1)

    def malformed(self, missing: np.ndarray) -> np.ndarray:
        """(B, 2) from (B, 2, 3): a number is missing beside others, but for the third of a face of known yaw."""
        some = np.asarray(missing.any(axis=2) & ~missing.all(axis=2))
        some[:, 0] &= ~(missing[:, 0] == [False, False, True]).all(axis=1)
        return some

    def agrees(self, other: Scheme | None) -> bool:
        """Whether the other is a pose scheme with the same standardisation."""
        return isinstance(other, PoseScheme) and (self.mean, self.deviation) == (other.mean, other.deviation)

    def reads(self, other: Scheme) -> bool:
        """Whether the other is a pose scheme, or a landmark scheme that contains the generic head's points."""
        return isinstance(other, PoseScheme) or knows_head(other)

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Convert poses of another standardisation, a benchmark's landmarks by PnP, or raw outputs of a function."""
        if isinstance(other, PoseScheme) or (other is None and values.shape[-2:] == self.shape):
            return self.stored(values if other is None else other.raw(values)).astype(np.float32)
        if other is None or not knows_head(other) or values.shape[-2:] != other.shape:
            return None
        flat = values.reshape(-1, *other.shape)
        # if no head fits the points, a teacher predicts the mean of the training faces
        found = [pose_in_crop(points, other, self.focal) for points in flat]
        raw = [np.reshape(self.mean, (2, 3)) if one is None else one for one in found]
        return self.stored(np.stack(raw).reshape(*values.shape[:-2], 2, 3)).astype(np.float32)

    def target(self, points: np.ndarray, place: HeadPlacement | None, affine: np.ndarray) -> np.ndarray:
        """Raw (2, 3), from the archive or by PnP; raises a `UserError` for a head without a visible face."""
        raw = (
            pose_in_crop(points, LANDMARK_SCHEMES[self.points], self.focal) if place is None else place.through(affine)
        )
        if raw is None:
            raise UserError("no head pose fits its eye, nose and mouth points")
        yaw = float(known_yaw.yaws(raw[0]))
        if not abs(yaw) <= MOST_YAW:
            raise UserError(f"a yaw of {yaw:.0f}° is outside −{MOST_YAW:g}…{MOST_YAW:g}")
        return raw

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """The crop in which the head has the mean position and size of those of the training faces.

        It keeps the margin of the training crops.
        """
        x0, y0, side = np.asarray(square, np.float64)
        place, usual = self.raw(seen)[1], np.asarray(self.mean[3:])
        again = side * math.exp(usual[2] - place[2])
        corner = np.array([x0, y0]) + side * (place[:2] + 0.5) - again * (usual[:2] + 0.5)
        return np.array([*corner, again])

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Faces per range of |yaw|, without empty ranges."""
        yaw = np.abs(known_yaw.yaws(self.raw(targets)[:, 0]))
        # the last range includes its end
        rows = {f"yaw {a}–{b}": np.flatnonzero((yaw >= a) & ((yaw < b) | (b == 99))) for a, b in YAW_RANGES}
        return {name: indices for name, indices in rows.items() if len(indices)}

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """Geodesic angles (B, 1) in degrees."""
        return geodesic(*(to_matrices(self.raw(values)[:, 0]) for values in (first, second)))[:, None]

    def in_camera(self, raw: np.ndarray) -> np.ndarray:
        """Raw (…, 2, 3) -> positions (…, 3) in head widths in front of a crop's camera: x, y, depth."""
        place = np.asarray(raw, np.float64)[..., 1, :]
        distance = np.exp(place[..., 2:])
        return np.concatenate([place[..., :2] * distance, self.focal * distance], axis=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the convention in words."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {"mean": list(self.mean), "deviation": list(self.deviation)}
        camera = f"looks at the middle of the crop, focal length {self.focal:g} crop sides"
        return {"kind": "pose", **plain, **lists, "convention": CONVENTION, "camera": camera}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> PoseScheme:
        """Restore a scheme from `to_dict`; raises a `UserError` for malformed values."""
        known = {f.name for f in fields(cls)}
        given = {key: value for key, value in values.items() if key in known}
        try:
            lists = {key: tuple(given[key]) for key in ("mean", "deviation") if key in given}
            scheme = cls(**{**given, **lists})
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: a malformed pose scheme") from None
        texts = (scheme.name, scheme.points, scheme.source)
        if not all(isinstance(text, str) for text in texts) or (
            scheme.points and scheme.points not in LANDMARK_SCHEMES
        ):
            raise UserError(f"{where}: a malformed pose scheme")
        return scheme


_BY_PNP = "solvePnP on the annotated eye, nose and mouth points and a generic head, in the crop's camera"
POSES: dict[str, PoseScheme] = {
    scheme.name: scheme
    for scheme in (
        PoseScheme("pose_synthetic", "w300", "exact, of the drawn faces"),
        PoseScheme("pose_w300", "w300", _BY_PNP),
        PoseScheme("pose_cofw", "cofw", _BY_PNP),
        PoseScheme("pose_wflw", "wflw", _BY_PNP),
        PoseScheme("pose_biwi", "", "the archive's (depth camera), seen by its colour camera"),
        PoseScheme("pose_300wlp", "w300", "the archive's (a 3D face model fitted to its landmarks)"),
        PoseScheme("pose_aflw2000", "w300", "the archive's (a 3D face model fitted to its landmarks)"),
        PoseScheme("pose_aflw", "", "AFLW's own yaw; pitch and roll of a generic head that fits its points"),
        PoseScheme("pose_pointing04", "", "the archive's (markers in the room): pan and tilt, no roll"),
    )
}
