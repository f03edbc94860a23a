"""Head poses as targets: (2, 3), a rotation vector, and x, y and log depth of the head's middle.

What a crop shows of a head: its rotation against the ray through its middle, where its middle lies (x, y, normalised
to the crop), and how wide a head is there, as log depth = −log(width in crop sides). A head of width w crop sides
stands 1/w focal lengths (in crop sides) away, in head widths. Under a turn, shift, scale and mirror of the crop all
six follow in closed form. They are learnt standardised: less the mean of the training faces, over their deviation,
number by number; both stand in the scheme, and so in manifest and card.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import CONVENTION, geodesic, to_angles, to_matrices, to_vectors
from kd_loss.schemes.base import Place, Scheme
from kd_loss.schemes.benchmarks import SPECS
from kd_loss.schemes.generic_head import FOCAL, knows_head, pose_in_crop
from kd_loss.system.errors import UserError

#: no head pose is told beyond this yaw, in degrees: there is no face to see
MOST_YAW = 99.0
#: ranges of |yaw| in degrees, as rows of a report
YAW_RANGES = ((0, 30), (30, 60), (60, 99))
#: the smallest deviation that numbers are divided by: what hardly varies is not blown up
LEAST_DEVIATION = 0.01
_MIRROR = np.array([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


@dataclass(frozen=True)
class PoseScheme:
    """The pose of a head in its crop.

    Attributes:
        name: of the dataset.
        points: name of the landmark scheme that places the crop and, where the archive says no pose, tells it by PnP;
            empty: the archive says both.
        source: where the poses are from, in words.
        focal: of the camera that looks at the middle of a crop, in crop sides; depth in head widths is counted by it.
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
    outputs: ClassVar[str] = "(B, 2, 3): rotation vector; x, y, log depth; less the spec's mean, over its deviation"
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
        """Standardised (…, 2, 3) as rotation vector in radians, and x, y in crop sides and log depth."""
        return np.asarray(targets, np.float64) * np.reshape(self.deviation, (2, 3)) + np.reshape(self.mean, (2, 3))

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """The other way."""
        return (np.asarray(targets, np.float64) - np.reshape(self.mean, (2, 3))) / np.reshape(self.deviation, (2, 3))

    def fitted(self, targets: np.ndarray) -> PoseScheme:
        """With the mean and deviation of raw targets (B, 2, 3)."""
        flat = np.asarray(targets, np.float64).reshape(len(targets), 6)
        deviation = np.maximum(flat.std(axis=0), LEAST_DEVIATION)
        return replace(self, mean=tuple(flat.mean(axis=0).tolist()), deviation=tuple(deviation.tolist()))

    def move(self, targets: np.ndarray, affine: np.ndarray, mirrored: bool) -> np.ndarray:
        """(…, 2, 3) through a similarity: mirrored, turned by a about the line of sight, moved, scaled by s.

        R becomes R_z(a) R (mirrored before: the rotation vector's y and z change sign), the middle moves as a point
        does, log depth falls by log s.
        """
        raw = self.raw(targets)
        matrix = np.asarray(affine, np.float64)
        middle = geometry.apply(matrix, raw[..., 1, :2])
        scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if mirrored:
            raw = raw * _MIRROR
        turn = to_matrices([0.0, 0.0, math.atan2(-matrix[0, 1], matrix[1, 1])])
        vectors = to_vectors(turn @ to_matrices(raw[..., 0, :]))
        place = np.concatenate([middle, raw[..., 1, 2:] - math.log(scale)], axis=-1)
        return self.stored(np.stack([vectors, place], axis=-2))

    def training_error(self, truth: Any, predicted: Any) -> Any:
        """The geodesic angle between the rotations, in degrees, (B, 2, 3) twice -> (B,)."""
        from keras import ops

        mean, deviation = (ops.convert_to_tensor(values[:3], "float32") for values in (self.mean, self.deviation))

        def quaternion(targets: Any) -> Any:
            vector = targets[:, 0] * deviation + mean
            angle = ops.sqrt(ops.sum(ops.square(vector), axis=-1, keepdims=True) + 1e-12)
            return ops.concatenate([ops.cos(angle / 2), ops.sin(angle / 2) * vector / angle], axis=-1)

        a, b = quaternion(truth), quaternion(predicted)
        apart, together = ops.norm(a - b, axis=-1), ops.norm(a + b, axis=-1)
        # a quaternion and its negative are one rotation; the arc tangent is exact where the cosine is flat
        small, large = ops.minimum(apart, together), ops.maximum(apart, together)
        return ops.arctan2(small, large) * (4 * 180 / np.pi)

    def agrees(self, other: Scheme | None) -> bool:
        """A pose, standardised by the same numbers."""
        return isinstance(other, PoseScheme) and (self.mean, self.deviation) == (other.mean, other.deviation)

    def reads(self, other: Scheme) -> bool:
        """From other poses, and from landmarks among which the generic head's are."""
        return isinstance(other, PoseScheme) or knows_head(other)

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Poses of another standardisation, landmarks of a benchmark's scheme by PnP, raw numbers of a function."""
        if isinstance(other, PoseScheme) or (other is None and values.shape[-2:] == self.shape):
            return self.stored(values if other is None else other.raw(values)).astype(np.float32)
        if other is None or not knows_head(other) or values.shape[-2:] != other.shape:
            return None
        flat = values.reshape(-1, *other.shape)
        # where no head fits the points, a teacher says the mean of the training faces
        found = [pose_in_crop(points, other, self.focal) for points in flat]
        raw = [np.reshape(self.mean, (2, 3)) if one is None else one for one in found]
        return self.stored(np.stack(raw).reshape(*values.shape[:-2], 2, 3)).astype(np.float32)

    def target(self, points: np.ndarray, place: Place | None, affine: np.ndarray) -> np.ndarray:
        """Raw (2, 3), from the archive's word or by PnP; a `UserError` for a head that shows no face."""
        raw = pose_in_crop(points, SPECS[self.points], self.focal) if place is None else place.through(affine)
        if raw is None:
            raise UserError("no head fits its eye, nose and mouth points")
        yaw = float(to_angles(to_matrices(raw[0]))[0])
        if not abs(yaw) <= MOST_YAW:
            raise UserError(f"a yaw of {yaw:.0f}° is outside of −{MOST_YAW:g}…{MOST_YAW:g}")
        return raw

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """The one in which the head stands where, and is as large as, those of the training faces on the average.

        The margin is theirs.
        """
        x0, y0, side = np.asarray(square, np.float64)
        place, usual = self.raw(seen)[1], np.asarray(self.mean[3:])
        again = side * math.exp(usual[2] - place[2])
        corner = np.array([x0, y0]) + side * (place[:2] + 0.5) - again * (usual[:2] + 0.5)
        return np.array([*corner, again])

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Faces per range of |yaw|, those without any left out."""
        yaw = np.abs(to_angles(to_matrices(self.raw(targets)[:, 0]))[:, 0])
        # the last range has its end
        rows = {f"yaw {a}–{b}": np.flatnonzero((yaw >= a) & ((yaw < b) | (b == 99))) for a, b in YAW_RANGES}
        return {name: indices for name, indices in rows.items() if len(indices)}

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """Geodesic angles (B, 1) in degrees."""
        return geodesic(*(to_matrices(self.raw(values)[:, 0]) for values in (first, second)))[:, None]

    def in_camera(self, raw: np.ndarray) -> np.ndarray:
        """Raw (…, 2, 3) -> places (…, 3) in head widths before the camera of a crop: x, y, depth."""
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
        """What `to_dict` wrote; `UserError` for something else."""
        known = {f.name for f in fields(cls)}
        given = {key: value for key, value in values.items() if key in known}
        try:
            lists = {key: tuple(given[key]) for key in ("mean", "deviation") if key in given}
            scheme = cls(**{**given, **lists})
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: a malformed pose scheme") from None
        texts = (scheme.name, scheme.points, scheme.source)
        if not all(isinstance(text, str) for text in texts) or (scheme.points and scheme.points not in SPECS):
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
        PoseScheme("pose_pointing04", "", "the archive's (markers in the room): pan and tilt, no roll"),
    )
}
