"""The description of a landmark scheme, as data.

The benchmarks' schemes are in `benchmarks`; a custom scheme is a JSON file with the same fields (see
`LandmarkScheme.from_json`). Left and right are the subject's: the right eye of a person who
looks at the camera is on the left of the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.schemes import nme
from kd_loss.system.arguments import list_of, shown, table_of, text_of, wrong
from kd_loss.system.errors import UserError
from kd_loss.system.files import Json, read_json

if TYPE_CHECKING:
    from kd_loss.schemes.base import HeadPlacement, Scheme, Tensor

Indices = tuple[int, ...]


@dataclass(frozen=True)
class LandmarkScheme:
    """A landmark scheme and, for a benchmark, its official subsets.

    Attributes:
        name: the dataset's name on the command line.
        points: number of landmarks K.
        pairs: index pairs that swap when the face is mirrored; all others stay.
        parts: facial part -> its indices (for error tables and colours).
        edges: polylines to draw; a closed one repeats its first index at the end.
        normalisers: name -> two groups of indices; the normalising distance is the distance between
            the means of the groups. The first entry is the one that NME uses by default.
        official: subset -> number of faces in the official release.
        test_subsets: report row -> the subsets that it joins.
        same: name of another scheme -> for each own point the index of the same point there, or None; lets faces of
            this scheme serve as partly annotated faces of the other (`datasets.combine`).
        half: for a scheme of the visible half of a face, whichever it is: an outer point (at the ear) and an inner
            one (on the nose). If the outer one lies left of the inner one in the image, it is the subject's right
            half, which `same` describes; otherwise `same` describes the mirrored points.
        names: a unique name for each point; empty if they have none. Files of annotation tools are read by these
            names, in any order.
    """

    array: ClassVar[str] = "landmarks"
    outputs: ClassVar[str] = "(B, K, 2) as (x, y), −0.5…0.5 across the crop"
    metric: ClassVar[str] = "nme"
    metric_words: ClassVar[str] = "NME in %"
    unit: ClassVar[str] = "%"
    predicted: ClassVar[str] = "landmarks"
    apart_unit: ClassVar[str] = "px"
    #: normalised landmarks lie within half a crop of its centre, or a little further out for other faces
    furthest: ClassVar[float] = 10.0

    name: str
    points: int
    pairs: tuple[tuple[int, int], ...] = ()
    parts: Mapping[str, Indices] = field(default_factory=dict)
    edges: tuple[Indices, ...] = ()
    normalisers: Mapping[str, tuple[Indices, Indices]] = field(default_factory=dict)
    official: Mapping[str, int] = field(default_factory=dict)
    test_subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    half: tuple[int, int] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_kinds()
        if type(self.points) is not int or not 2 <= self.points <= 10_000:
            raise UserError(f"scheme '{self.name}': points must be a whole number from 2 to 10,000")
        groups = [*self.parts.values(), *self.edges, *self.pairs]
        groups += [group for pair in self.normalisers.values() for group in pair]
        groups += [self.half] if self.half else []
        for other, indices in self.same.items():
            known = [i for i in indices if i is not None]
            if len(indices) != self.points or len(set(known)) != len(known):
                raise UserError(f"scheme '{self.name}': same.{other} must have one index or null per point")
            if not all(type(i) is int and i >= 0 for i in known):
                raise UserError(f"scheme '{self.name}': same.{other} contains something other than an index")
        if self.names and (len(self.names) != self.points or len(set(self.names)) != self.points):
            raise UserError(f"scheme '{self.name}': names must be {self.points} different names, one per point")
        if not all(groups):
            raise UserError(f"scheme '{self.name}': a part, edge or normaliser has no points")
        for name, (first, second) in self.normalisers.items():
            if name in ("box", "box_side") or set(first) == set(second):
                raise UserError(f"scheme '{self.name}': the normaliser '{name}' is not a distance between two places")
        for index in (i for group in groups for i in group):
            if type(index) is not int or not 0 <= index < self.points:
                raise UserError(f"scheme '{self.name}': index {index!r} is not in 0…{self.points - 1}")
        mirrored = [i for pair in self.pairs for i in pair]
        if len(mirrored) != len(set(mirrored)):
            raise UserError(f"scheme '{self.name}': a point is in two left/right pairs")

    def _check_kinds(self) -> None:
        """Raise a `UserError` for a field of another type than declared."""
        where = f"scheme {shown(text_of(self.name, 'name'))}: "
        for name in ("pairs", "edges", "names", *(["half"] if self.half is not None else [])):
            groups = getattr(self, name)
            nested = name in ("pairs", "edges")
            if not isinstance(groups, list | tuple) or (
                nested and not all(isinstance(g, list | tuple) for g in groups)
            ):
                raise wrong(where + name, groups, "a list of lists of indices" if nested else "a list")
        for name in ("parts", "normalisers", "official", "test_subsets", "same"):
            for key, value in table_of(getattr(self, name), where + name).items():
                if name != "official":
                    list_of(value, f"{where}{name}.{key}")
                if name == "normalisers" and (len(value) != 2 or not all(isinstance(g, list | tuple) for g in value)):
                    raise wrong(f"{where}normalisers.{key}", value, "two groups of indices")
        for text in [self.name, *self.names, *self.parts, *self.normalisers]:
            if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in text_of(text, where + "a name")):
                raise wrong(where + "a name", text, "printable text")

    @cached_property
    def flip_index(self) -> np.ndarray:
        """(K,) permutation: landmark i of the mirrored face is landmark `flip_index[i]` of the face."""
        index = np.arange(self.points)
        for left, right in self.pairs:
            index[left], index[right] = right, left
        return index

    @property
    def default_normaliser(self) -> str:
        """The normaliser of the headline NME: the first one, or the landmark box if none is given."""
        return next(iter(self.normalisers), "box")

    @classmethod
    def from_dict(cls, values: Json, where: str = "scheme") -> LandmarkScheme:
        """Build from plain lists and dictionaries; raises a `UserError` that names a missing or unknown field."""
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: not a table of fields")
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError):
            raise UserError(f"{where}: contains text that is not Unicode, or values that JSON does not have") from None
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise UserError(f"{where}: unknown field '{sorted(unknown)[0]}'")
        try:
            half = values.get("half")
            if half is not None:
                left, right = half
                half = left, right
            return cls(
                name=str(values["name"]),
                points=values["points"],
                pairs=tuple((a, b) for a, b in values.get("pairs", ())),
                parts={k: tuple(v) for k, v in values.get("parts", {}).items()},
                edges=tuple(tuple(line) for line in values.get("edges", ())),
                normalisers={k: (tuple(a), tuple(b)) for k, (a, b) in values.get("normalisers", {}).items()},
                official=dict(values.get("official", {})),
                test_subsets={k: tuple(v) for k, v in values.get("test_subsets", {}).items()},
                same={k: tuple(v) for k, v in values.get("same", {}).items()},
                half=half,
                names=tuple(str(name) for name in values.get("names", ())),
            )
        except KeyError as error:
            raise UserError(f"{where}: the field {error} is missing") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where}: malformed ({error})") from None

    @classmethod
    def from_json(cls, path: Path) -> LandmarkScheme:
        """Read a scheme file; only `name` and `points` are required.

        E.g. `{"name": "cat", "points": 9, "pairs": [[0, 1]], "normalisers": {"inter_ocular": [[0], [1]]}}`.
        """
        values = read_json(Path(path), "the scheme")
        return cls.from_dict(values, f"the scheme {path}")

    def to_dict(self) -> Json:
        """Plain values for JSON; `from_dict` reads them back."""
        values = json.loads(json.dumps(asdict(self)))
        if not self.names:  # older versions do not know the key
            del values["names"]
        return values

    # the `Scheme` interface

    @property
    def shape(self) -> tuple[int, int]:
        """(K, 2)."""
        return self.points, 2

    @property
    def noun(self) -> str:
        """E.g. `68 landmarks`."""
        return f"{self.points} landmarks"

    @property
    def mirrors(self) -> bool:
        """False for half a face: its mirror image shows the other half, for which the scheme has no points."""
        return self.half is None

    def move(self, targets: np.ndarray, affine: np.ndarray, mirrored: bool) -> np.ndarray:
        """Transform points (…, K, 2) by the map; if it mirrors, left and right are swapped, so that left stays left."""
        moved = geometry.apply(affine, targets)
        return moved[..., self.flip_index, :] if mirrored else moved

    def training_error(self, truth: Tensor, predicted: Tensor) -> Tensor:
        """NME in % of the default normaliser, (B,); not finite where that distance is not annotated."""
        from keras import ops

        if self.default_normaliser == "box":
            extent = nme.box_extent(truth, ops)
            distance = ops.sqrt(extent[:, 0] * extent[:, 1])
        else:
            distance = nme.distance_between(truth, self.normalisers[self.default_normaliser], ops)
        return nme.face_means(nme.point_errors(predicted, truth, distance, ops), ops)

    def completed(self, truth: Tensor, predicted: Tensor) -> Tensor:
        """The predicted coordinates where they are not annotated."""
        from keras import ops

        return ops.where(ops.isnan(truth), predicted, truth)

    def malformed(self, missing: np.ndarray) -> np.ndarray:
        """(B, K): one coordinate of a point is missing, the other is not."""
        return np.asarray(missing.any(axis=2) != missing.all(axis=2))

    def agrees(self, other: Scheme | None) -> bool:
        """Whether the other is a landmark scheme with the same number of points."""
        return other is not None and other.shape == self.shape

    def reads(self, other: Scheme) -> bool:
        """Whether the other is a scheme with the same number of points."""
        return other.shape == self.shape

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Values with the same number of points, unchanged; None for others (`schemes.point_map` fits a map)."""
        return values if values.shape[-2:] == self.shape else None

    def target(self, points: np.ndarray, place: HeadPlacement | None, affine: np.ndarray) -> np.ndarray:
        """Return the points unchanged."""
        return points

    def fitted(self, targets: np.ndarray) -> Self:
        """Return the scheme unchanged: it has no statistics to fit."""
        return self

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets unchanged."""
        return targets

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """The square around the box of the landmarks."""
        points = geometry.apply(geometry.invert(geometry.normalised_affine(square)), seen)
        return geometry.square_crop(geometry.landmark_box(points), margin)

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """No rows: a benchmark's rows follow from its subsets and attributes."""
        return {}

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """Distances (B, K) in pixels of an input of `size`."""
        return np.linalg.norm(np.asarray(second, np.float64) - first, axis=2) * size
