"""What there is to know about a landmark scheme, as data.

`W300`, `COFW` and `WFLW` are the three benchmarks; anybody's own scheme is a JSON file of the same
fields (see `DatasetSpec.from_json`). Left and right are the subject's: the right eye of a person who
looks at the camera is on the left of the picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.errors import UserError, check_name, choose
from kd_loss.files import read_json
from kd_loss.schemes.landmarks import LandmarkTargets

Indices = tuple[int, ...]


def _run(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


@dataclass(frozen=True)
class DatasetSpec(LandmarkTargets):
    """A landmark scheme and, for a benchmark, its official subsets.

    Attributes:
        name: the dataset's name on the command line.
        points: number of landmarks K.
        pairs: index pairs that change places when the face is mirrored; all others stay.
        parts: facial part -> its indices (for error tables and colours).
        edges: polylines to draw, a closed one repeats its first index at the end.
        normalisers: name -> two groups of indices; the normalising distance is the distance between
            the means of the groups. The first entry is the one that NME uses by default.
        official: subset -> number of faces in the official release.
        test_subsets: report row -> the subsets that it joins.
        same: name of another scheme -> for each own point the index of the same point there, or None; so that
            faces of this scheme can be partly annotated faces of the other (`datasets.combine`).
        half: of a scheme for the half of a face that is seen, whichever it is: an outer point (at the ear) and
            an inner one (on the nose). Where the outer one lies left of the inner one in the picture, it is the
            subject's right half, which `same` describes; otherwise the mirrored points are meant.
        names: what each point is called, all different; empty where they have none. Files of annotation tools are
            read by these names, whatever their order.
    """

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
        if type(self.points) is not int or not 2 <= self.points <= 10_000:
            raise UserError(f"dataset spec '{self.name}': points must be a whole number from 2 to 10,000")
        groups = [*self.parts.values(), *self.edges, *self.pairs]
        groups += [group for pair in self.normalisers.values() for group in pair]
        groups += [self.half] if self.half else []
        for other, indices in self.same.items():
            known = [i for i in indices if i is not None]
            if len(indices) != self.points or len(set(known)) != len(known):
                raise UserError(f"dataset spec '{self.name}': same.{other} wants one index or null for each point")
            if not all(type(i) is int and i >= 0 for i in known):
                raise UserError(f"dataset spec '{self.name}': same.{other} holds something that is no index")
        if self.names and (len(self.names) != self.points or len(set(self.names)) != self.points):
            raise UserError(f"dataset spec '{self.name}': names wants {self.points} different names, one a point")
        if not all(groups):
            raise UserError(f"dataset spec '{self.name}': a part, edge or normaliser has no points")
        for name, (first, second) in self.normalisers.items():
            if name == "box" or set(first) == set(second):
                raise UserError(f"dataset spec '{self.name}': the normaliser '{name}' is no distance of two places")
        for index in (i for group in groups for i in group):
            if type(index) is not int or not 0 <= index < self.points:
                raise UserError(f"dataset spec '{self.name}': index {index!r} is not in 0…{self.points - 1}")
        mirrored = [i for pair in self.pairs for i in pair]
        if len(mirrored) != len(set(mirrored)):
            raise UserError(f"dataset spec '{self.name}': a point stands in two left/right pairs")

    @cached_property
    def flip_index(self) -> np.ndarray:
        """(K,) permutation: landmark i of the mirrored face is landmark `flip_index[i]` of the face."""
        index = np.arange(self.points)
        for left, right in self.pairs:
            index[left], index[right] = right, left
        return index

    @property
    def default_normaliser(self) -> str:
        """The normaliser of the headline NME: the first one, or the landmark box where none is given."""
        return next(iter(self.normalisers), "box")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "dataset spec") -> DatasetSpec:
        """Build from plain lists and dictionaries; `UserError` names a missing or unknown field."""
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: not a table of fields")
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError):
            raise UserError(f"{where}: holds text that is not Unicode, or other things than JSON has") from None
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
    def from_json(cls, path: Path) -> DatasetSpec:
        """Read a spec file, e.g. `{"name": "cat", "points": 9, "pairs": [[0, 1]], "normalisers":
        {"inter_ocular": [[0], [1]]}}`; only `name` and `points` are required."""
        values = read_json(Path(path), "the spec")
        return cls.from_dict(values, f"the spec {path}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        values = json.loads(json.dumps(asdict(self)))
        if not self.names:  # files without names stay readable for versions that know of none
            del values["names"]
        return values


W300 = DatasetSpec(
    name="w300",
    points=68,
    pairs=(
        *((i, 16 - i) for i in range(8)),
        *((17 + i, 26 - i) for i in range(5)),
        *((31 + i, 35 - i) for i in range(2)),
        *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
        *((48, 54), (49, 53), (50, 52), (59, 55), (58, 56)),
        *((60, 64), (61, 63), (67, 65)),
    ),
    parts={
        "jaw": _run(0, 16),
        "brows": _run(17, 26),
        "nose": _run(27, 35),
        "eyes": _run(36, 47),
        "mouth": _run(48, 67),
    },
    edges=(
        *(_run(0, 16), _run(17, 21), _run(22, 26), _run(27, 30), _run(31, 35)),
        *((*_run(36, 41), 36), (*_run(42, 47), 42), (*_run(48, 59), 48), (*_run(60, 67), 60)),
    ),
    normalisers={
        "inter_ocular": ((36,), (45,)),
        "inter_pupil": (_run(36, 41), _run(42, 47)),
    },
    official={
        **{"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811},
        **{"helen/testset": 330, "lfpw/testset": 224, "ibug": 135},
    },
    test_subsets={
        "common": ("helen/testset", "lfpw/testset"),
        "challenging": ("ibug",),
        "full": ("helen/testset", "lfpw/testset", "ibug"),
    },
)

COFW = DatasetSpec(
    name="cofw",
    points=29,
    pairs=(
        *((0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17)),
        *((18, 19), (22, 23)),
    ),
    parts={
        "brows": _run(0, 7),
        "eyes": _run(8, 17),
        "nose": _run(18, 21),
        "mouth": _run(22, 27),
        "chin": (28,),
    },
    edges=(
        *((0, 4, 2, 5, 0), (1, 6, 3, 7, 1), (8, 12, 10, 13, 8), (9, 14, 11, 15, 9)),
        *((18, 20, 19, 21, 18), (22, 24, 23, 27, 22), (22, 25, 23, 26, 22)),
    ),
    normalisers={"inter_ocular": ((8,), (9,)), "inter_pupil": ((16,), (17,))},
    official={"train": 1345, "test": 507},
    test_subsets={"full": ("test",)},
)

WFLW = DatasetSpec(
    name="wflw",
    points=98,
    pairs=(
        *((i, 32 - i) for i in range(16)),
        *((33 + i, 46 - i) for i in range(5)),
        *((38, 50), (39, 49), (40, 48), (41, 47), (55, 59), (56, 58)),
        *((60 + i, 72 - i) for i in range(5)),
        *((65, 75), (66, 74), (67, 73), (96, 97)),
        *((76, 82), (77, 81), (78, 80), (87, 83), (86, 84), (88, 92), (89, 91), (95, 93)),
    ),
    parts={
        "jaw": _run(0, 32),
        "brows": _run(33, 50),
        "nose": _run(51, 59),
        "eyes": (*_run(60, 75), 96, 97),
        "mouth": _run(76, 95),
    },
    edges=(
        *(_run(0, 32), (*_run(33, 41), 33), (*_run(42, 50), 42), _run(51, 54), _run(55, 59)),
        *((*_run(60, 67), 60), (*_run(68, 75), 68), (*_run(76, 87), 76), (*_run(88, 95), 88)),
    ),
    normalisers={"inter_ocular": ((60,), (72,)), "inter_pupil": ((96,), (97,))},
    official={
        **{"train": 7500, "test": 2500, "pose": 326, "expression": 314, "illumination": 698},
        **{"make-up": 206, "occlusion": 736, "blur": 773},
    },
    test_subsets={"full": ("test",)},
    same={
        "w300": (
            *(i // 2 if i % 2 == 0 else None for i in range(33)),
            *(*range(17, 22), *[None] * 4, *range(22, 27), *[None] * 4),
            *range(27, 36),
            *(36, 37, None, 38, 39, 40, None, 41),
            *(42, 43, None, 44, 45, 46, None, 47),
            *(*range(48, 68), None, None),
        )
    },
)

#: Celebrities in Frontal-Profile (Sengupta et al., WACV 2016): the half of the face that is seen
CFP30 = DatasetSpec(
    name="cfp30",
    points=30,
    parts={
        **{"jaw": _run(0, 8), "brows": _run(9, 11), "eyes": _run(12, 17), "nose": _run(18, 24)},
        "mouth": _run(25, 29),
    },
    edges=(_run(0, 8), _run(9, 11), (*_run(12, 17), 12), _run(18, 21), _run(22, 24), (25, 26), (25, 27), (25, 28)),
    same={
        # left out: the ends of the brow, the wing of the nose and the corner of the mouth, which lie 1 to 2 % of the
        # crop beside those of the 68 on 5,000 frontal faces (docs/experiments/students-heatmap.md)
        "w300": (
            *(*range(9), None, 19, None, *range(36, 42), *range(27, 31), 33, None, None),
            *(None, 51, 62, 57, 66),
        ),
    },
    half=(0, 21),
    test_subsets={name: (name,) for name in ("frontal", "profile")},
)

#: Annotated Facial Landmarks in the Wild (Köstinger et al., 2011): up to 21 points, faces in any pose. Errors are
#: divided by the box of the points, as one of the eyes is often not seen
AFLW21 = DatasetSpec(
    name="aflw",
    points=21,
    pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 16), (13, 15), (17, 19)),
    parts={
        **{"brows": _run(0, 5), "eyes": _run(6, 11), "ears": (12, 16), "nose": _run(13, 15), "mouth": _run(17, 19)},
        "chin": (20,),
    },
    edges=(_run(0, 2), _run(3, 5), _run(6, 8), _run(9, 11), _run(13, 15), _run(17, 19)),
    test_subsets={name: (name,) for name in ("yaw 0–30", "yaw 30–60", "yaw 60–90")},
    same={
        # corners of the eyes (within 1 % of the crop on 780 frontal faces) and of the mouth (1.2 % inside 48, 54).
        # Left out: brows, wings and tip of the nose and chin, which lie 1.8 to 3.6 % of the crop beside those of the
        # 68; the middles of eyes and mouth, which lie between several; the ears, which are none of them
        "w300": (*[None] * 6, 36, None, 39, 42, None, 45, *[None] * 5, 48, None, 54, None),
    },
)

SPECS: dict[str, DatasetSpec] = {
    "w300": W300,
    "cofw": COFW,
    "wflw": WFLW,
    "cfp30": CFP30,
    "aflw": AFLW21,
    "synthetic": replace(W300, name="synthetic", official={}, test_subsets={}),
    "synthetic_cofw": replace(COFW, name="synthetic_cofw", official={}, test_subsets={}),
    "synthetic_wflw": replace(WFLW, name="synthetic_wflw", official={}, test_subsets={}),
}


def get_spec(name: str) -> DatasetSpec:
    """The spec of a built-in dataset; an unknown name is a `UserError` with the nearest one."""
    return SPECS[choose(name, SPECS, "dataset")]


def chosen_spec(name: str, file: str) -> DatasetSpec:
    """The spec that `--dataset NAME` and `--spec FILE` ask for: the file's under that name, or a built-in one.

    `UserError` for neither, an unknown name, a bad file, and a file's spec under the name of a benchmark.
    """
    if file:
        spec = DatasetSpec.from_json(Path(file))
        spec = replace(spec, name=name or spec.name)
        check_name(spec.name, "a dataset")
        if spec.name in SPECS:
            raise UserError(f"'{spec.name}' is a benchmark; give your own dataset another name with --dataset")
        return spec
    if not name:
        raise UserError(f"give --dataset: {', '.join(SPECS)}, or your own with --spec")
    return get_spec(name)
