"""What the readers of annotation tools share: faces as a file tells them -> an `Archive` in a scheme.

A reader fills `Annotations` (`coco`, `cvat`, `label_studio`, `yolo_pose`, `labelme`) and calls `to_archive`, which
finds the pictures, puts the points into the scheme's order, makes a scheme where none is given, and settles the splits.
Coordinates are those of the package here: pixels, the centre of the first one at (0, 0); readers of formats that
count from the corner of the first pixel subtract 0.5.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kd_loss.archives.sample import Archive, Sample, assign_splits, check_landmarks
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.schemes.spec import DatasetSpec
from kd_loss.system.errors import UserError

#: bytes of an annotation file, and points of a face, that nobody has
MOST_BYTES, MOST_POINTS = 1 << 30, 10_000
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SIDES = {"left": "right", "l": "r"}
_SIDES |= {b: a for a, b in _SIDES.items()}


@dataclass(frozen=True)
class Mark:
    """One point that was annotated, in pixels that start at the first pixel's centre.

    Attributes:
        x, y: where it is; occluded: whether something hides it, so that the annotator had to guess.
    """

    x: float
    y: float
    occluded: bool = False


@dataclass(frozen=True)
class Face:
    """One face of an annotation file.

    Attributes:
        where: in which file, which entry; for the lines of problems.
        picture: the names under which the picture may be found, the likeliest first.
        marks: name of a point -> the point, or the points in order, None for one that is not annotated.
        split: `train`, `val` or `test`, where the file tells it.
        size: width and height in pixels of the picture that was annotated, where the file tells them.
        places: folders in which the picture may be, beside those of all faces.
        load: returns the picture where the annotation file itself holds it and there is no other.
    """

    where: str
    picture: Sequence[str]
    marks: Mapping[str, Mark] | Sequence[Mark | None]
    split: str | None = None
    size: tuple[int, int] | None = None
    places: tuple[Path, ...] = ()
    load: Callable[[], np.ndarray] | None = None


@dataclass
class Annotations:
    """What a file or folder of an annotation tool tells, before it is a dataset of some scheme.

    Attributes:
        source: that was given; tool: whose format it is.
        names: of the points, in order; empty where they have none.
        points: how many a face has where they have no names; 0 as long as nobody knows.
        edges, pairs: index pairs: lines to draw, and points that change places when a face is mirrored.
        ordered: whether the file itself gives the points an order.
    """

    source: Path
    tool: str
    names: list[str] = field(default_factory=list)
    points: int = 0
    edges: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ordered: bool = True

    @property
    def root(self) -> Path:
        """The folder of the source."""
        return self.source if self.source.is_dir() else self.source.parent


def load_json(path: Path) -> Any:
    """The values of a JSON file; `BadSample` says why it cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
            raise BadSample("is not a regular file")
        if status.st_size > MOST_BYTES:
            raise BadSample("is larger than 1 GiB")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadSample(f"cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise BadSample(f"is not JSON, or breaks off: {error}") from None
    except (ValueError, RecursionError):
        raise BadSample("is not JSON") from None


def open_json(path: Path) -> Any:
    """The values of a JSON file that everything hangs on; a `UserError` where it cannot be read."""
    try:
        return load_json(path)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None


def number(value: Any, what: str = "a coordinate") -> float:
    """A finite number, also one written as text; `BadSample` for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadSample(f"{what} is not a number") from None
    if not math.isfinite(result):
        raise BadSample(f"{what} is not a finite number")
    return result


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height in whole pixels; None where a file does not tell them."""
    sides = (width, height)
    return (width, height) if all(type(side) is int and side > 0 for side in sides) else None


def split_of(*texts: str | None) -> str | None:
    """The split that file, folder or subset names tell, the last first: `train`, `val`, `test` or None.

    >>> split_of("person_keypoints_train2017.json"), split_of("images/Validation/a.jpg"), split_of("latest")
    ('train', 'val', None)
    """
    for text in reversed([text for text in texts if text]):
        for word in reversed(re.split(r"[^a-z]+", text.lower())):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers at their ends where all have one (`p2` before `p10`), else as they come."""
    names = list(dict.fromkeys(names))
    found = [re.fullmatch(r"(.*?)(\d{1,9})", name) for name in names]
    if all(found) and len({match[1] for match in found if match}) == 1:
        return sorted(names, key=lambda name: int(re.findall(r"\d{1,9}$", name)[0]))
    return names


def pairs_of_names(names: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs whose names differ in `left` and `right`, or in the words `l` and `r`.

    >>> pairs_of_names(["nose", "left_eye", "right_eye", "L-ear", "R-ear"])
    [(1, 2), (3, 4)]
    """
    words = [re.findall(r"left|right|[A-Za-z]+|[^A-Za-z]+", name.lower()) for name in names]
    place = {"".join(parts): index for index, parts in enumerate(words)}
    pairs = []
    for index, parts in enumerate(words):
        other = place.get("".join(_SIDES.get(part, part) for part in parts), index)
        if index < other:
            pairs.append((index, other))
    return pairs


class PictureFinder:
    """Pictures by the names that annotations give them: in a folder, in `images/` in it, or by name alone below it.

    Attributes:
        root: where to look; inside: whether a picture has to lie there.
    """

    def __init__(self, root: Path, inside: bool):
        self.root, self.inside = Path(os.path.abspath(root)), inside

    @cached_property
    def _below(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder, _, files in os.walk(self.root):
            for file in files:
                if Path(file).suffix.lower() in IMAGE_SUFFIXES:
                    found.setdefault(file, []).append(Path(folder) / file)
        return found

    def __call__(self, names: Sequence[str], places: Sequence[Path] = ()) -> Path:
        """The picture of one of these names; `BadSample` where there is none, several, or one outside of the root."""
        for name in names:
            for place in (*places, self.root, self.root / "images"):
                picture = Path(os.path.abspath(place / name))
                if not _is_file(picture):
                    continue
                if self.inside and not picture.is_relative_to(self.root):
                    raise BadSample(f"the picture {picture} lies outside of {self.root}")
                return picture
        for name in dict.fromkeys(PurePosixPath(name.replace("\\", "/")).name for name in names):
            found = self._below.get(name, [])
            if len(found) > 1:
                raise BadSample(f"{len(found)} pictures are called {name}, the first {found[0]}")
            if found:
                return found[0]
        raise BadSample(f"no image {names[0] if names else '(it has no name)'} under {self.root}")

    def name(self, picture: Path) -> str:
        """A picture's path from the root where it lies there."""
        return (picture.relative_to(self.root) if picture.is_relative_to(self.root) else picture).as_posix()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def load_picture(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """A picture as the annotation tool showed it: upright, as its EXIF orientation says, where the sizes agree.

    `BadSample` where the picture has another size than the one that was annotated.
    """
    image = read_image(path, upright=True)
    if size is None or image.shape[1::-1] == size:
        return image
    stored = read_image(path)
    if stored.shape[1::-1] == size:
        return stored
    wide, high = image.shape[1::-1]
    raise BadSample(f"is of {wide} × {high} pixels, one of {size[0]} × {size[1]} was annotated")


def own_name(source: Path) -> str:
    """The name of a dataset that is made from a source: its own, or its folder's where it is called as they all are."""
    common = ("data", "dataset", "annotations", "default", "result", "instances_default", "person_keypoints_default")
    if source.is_file() and source.stem.lower() not in common:
        return source.stem
    return (source.parent if source.is_file() else source).absolute().name


def scheme_from(annotations: Annotations, name: str) -> DatasetSpec:
    """The scheme that a file itself describes: its points, their names, lines and mirrored pairs.

    The pairs are the file's own where it has them (`flip_idx`), else those that names tell by left and right.
    """
    count = len(annotations.names) or annotations.points
    if not count:
        first = f" (first problem: {annotations.problems[0]})" if annotations.problems else ""
        raise UserError(f"no annotated point in {annotations.source}{first}")
    pairs = annotations.pairs or pairs_of_names(annotations.names)
    edges = [edge for edge in annotations.edges if max(edge) < count and min(edge) >= 0]
    return DatasetSpec(name, count, pairs=tuple(pairs), edges=tuple(edges), names=tuple(annotations.names))


def _order(annotations: Annotations, spec: DatasetSpec) -> tuple[str, ...]:
    """The names of the file's points in the order of the scheme; empty where they have none.

    Raises:
        UserError: the file has other points than the scheme.
    """
    own = tuple(annotations.names)
    if spec.names and own:
        missing = [name for name in spec.names if name not in own]
        if missing and annotations.ordered:
            has = ", ".join(own[:12])
            raise UserError(f"{annotations.source} has no point '{missing[0]}' of '{spec.name}'; it has {has}")
        return spec.names
    count = len(own) or annotations.points
    if count and count != spec.points:
        raise UserError(f"{annotations.source} has {count} points a face, the scheme '{spec.name}' {spec.points}")
    if own and not annotations.ordered:
        annotations.warnings.append(
            f"the scheme '{spec.name}' has no names; the points of {annotations.source} are taken as {', '.join(own)}"
        )
    return own


def _points(face: Face, names: Sequence[str], count: int, strict: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points (K, 2), NaN where not annotated, and their occlusion (K,); `BadSample` for other points."""
    marks = face.marks
    if isinstance(marks, Mapping):
        unknown = [name for name in marks if name not in names]
        if unknown and strict:
            raise BadSample(f"no point of the scheme is called '{unknown[0]}'")
        ordered: list[Mark | None] = [marks.get(name) for name in names]
    else:
        ordered = list(marks)
    if len(ordered) != count:
        raise BadSample(f"{len(ordered)} points, {count} expected")
    points = np.array([(np.nan, np.nan) if mark is None else (mark.x, mark.y) for mark in ordered], np.float64)
    occluded = np.array([mark is not None and mark.occluded for mark in ordered], np.uint8)
    return check_landmarks(points, count), occluded


def _settle(told: Sequence[str | None], groups: Sequence[str], fraction: float, warnings: list[str]) -> list[str]:
    """`train` or `test` of each face: as the file tells, validation faces for testing where nothing else is.

    Where a file tells of one split alone, or of none, a share of the photographs is for testing.
    """
    kinds = {split for split in told if split}
    if len(kinds) < 2:
        shared = assign_splits(groups, fraction)
        return [shared[group] for group in groups]
    if kinds == {"train", "val"} or kinds == {"val", "test"}:
        meaning = {"train": "train", "val": "test", "test": "test"} if "train" in kinds else {"val": "train"}
    else:
        meaning = {"val": "train"}
        if "val" in kinds:
            warnings.append("faces for validation join those for training, which hold out some of their own")
    return [meaning.get(split, split) if split else "train" for split in told]


def to_archive(
    annotations: Annotations, spec: DatasetSpec | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """The faces of an annotation file as an `Archive`.

    Args:
        annotations: what a reader found.
        spec: the scheme; where None, one is made from the file, under `name` or the file's own.
        test_fraction: share of the photographs for testing where the file tells of no splits.

    Raises:
        UserError: nothing is annotated, or other points than those of the scheme. What is wrong with single faces
            is listed in the archive's problems.
    """
    made = spec or scheme_from(annotations, name or own_name(annotations.source))
    archive = Archive(made, warnings=annotations.warnings, problems=annotations.problems)
    names = _order(annotations, made)
    finder = PictureFinder(annotations.root, annotations.source.is_dir())
    found = []
    for index, face in enumerate(annotations.faces):
        try:
            points, occluded = _points(face, names, made.points, strict=spec is not None and bool(spec.names))
            picture, load = _find(finder, face)
        except BadSample as error:
            archive.problems.append(f"{face.where}: {error}")
            continue
        found.append((f"{picture}#{index + 1}", picture, load, points, occluded, face.split))
    groups = [picture for _, picture, *_ in found]
    splits = _settle([split for *_, split in found], groups, test_fraction, archive.warnings)
    flagged = any(occluded.any() for *_, occluded, _ in found)
    for (label, picture, load, points, occluded, _), split in zip(found, splits, strict=True):
        attributes = {"occluded": occluded} if flagged else {}
        archive.samples.append(Sample(label, points, split, split, picture, load, attributes))
    archive.require_samples(annotations.source, f"points in {annotations.tool}'s format")
    return archive


def _find(finder: PictureFinder, face: Face) -> tuple[str, Callable[[], np.ndarray]]:
    """The name of a face's picture and what loads it."""
    try:
        picture = finder(face.picture, face.places)
    except BadSample:
        if face.load is None:
            raise
        return face.picture[0] if face.picture else face.where, face.load
    return finder.name(picture), partial(load_picture, picture, face.size)
