"""Shared code of the annotation tools' readers: turns the faces of a file into an `Archive` in a scheme.

A reader fills `Annotations` (`coco`, `cvat`, `label_studio`, `yolo_pose`, `labelme`) and calls `to_archive`, which
finds the images, sorts the points into the scheme's order, makes a scheme if none is given, and assigns the splits.
Coordinates follow the package's convention: pixels, with the centre of the first pixel at (0, 0). Readers of formats
that count from the corner of the first pixel subtract 0.5.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kd_loss.archives.sample import Archive, Sample, assign_splits, check_landmarks
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, read_image, read_text
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

#: upper limits on the bytes of an annotation file and the points of a face
MOST_BYTES, MOST_POINTS = 1 << 30, 10_000
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SIDES = {"left": "right", "l": "r"}
_SIDES |= {b: a for a, b in _SIDES.items()}


@dataclass(frozen=True)
class Mark:
    """One annotated point, in pixels counted from the centre of the first pixel.

    Attributes:
        x, y: its position; occluded: whether it is hidden, so that the annotator had to guess.
    """

    x: float
    y: float
    occluded: bool = False


@dataclass(frozen=True)
class Face:
    """One face of an annotation file.

    Attributes:
        where: the file and entry, for problem messages.
        picture: the candidate names of the image, the likeliest first.
        marks: point name -> point, or the points in order; None for a point that is not annotated.
        split: `train`, `val` or `test`, if the file gives it.
        size: width and height in pixels of the annotated image, if the file gives them.
        places: folders to search for the image, in addition to those of all faces.
        load: returns the image embedded in the annotation file, used if there is no other.
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
    """The contents of an annotation file or folder, before they are converted to a scheme.

    Attributes:
        source: the given file or folder; tool: the tool whose format it has.
        names: point names, in order; empty if the points have none.
        points: number of points of a face if they have no names; 0 while unknown.
        edges, pairs: index pairs: lines to draw, and points that swap when a face is mirrored.
        ordered: whether the file itself defines the order of the points.
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
    """Return the values of a JSON file; raise `BadSample` with the reason if it cannot be read."""
    try:
        return json.loads(read_text(path, MOST_BYTES))
    except json.JSONDecodeError as error:
        raise BadSample(f"is not JSON, or is truncated: {error}") from None
    except (ValueError, RecursionError):
        raise BadSample("is not JSON") from None


def open_json(path: Path) -> Any:
    """Return the values of an indispensable JSON file; raise `UserError` if it cannot be read."""
    try:
        return load_json(path)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None


def number(value: Any, what: str = "a coordinate") -> float:
    """Return a finite number, also from text; raise `BadSample` for anything else."""
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
    """Return width and height in whole pixels; None if the file does not give them."""
    sides = (width, height)
    return (width, height) if all(type(side) is int and side > 0 for side in sides) else None


def split_of(*texts: str | None) -> str | None:
    """Infer the split from file, folder or subset names, the last name first: `train`, `val`, `test` or None.

    >>> split_of("person_keypoints_train2017.json"), split_of("images/Validation/a.jpg"), split_of("latest")
    ('train', 'val', None)
    """
    for text in reversed([text for text in texts if text]):
        for word in reversed(re.split(r"[^a-z]+", text.lower())):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def natural(names: Iterable[str]) -> list[str]:
    """Sort names by their trailing numbers if all have one (`p2` before `p10`); otherwise keep their order."""
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
    """Looks up images by their annotated names: in a folder, in its `images/`, or by file name anywhere below it.

    Attributes:
        root: the folder to search; inside: whether an image must lie in it.
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
        """Return the image with one of these names; raise `BadSample` for none, several, or one outside the root."""
        for name in names:
            for place in (*places, self.root, self.root / "images"):
                picture = Path(os.path.abspath(place / name))
                if not _is_file(picture):
                    continue
                if self.inside and not picture.is_relative_to(self.root):
                    raise BadSample(f"the image {picture} is outside {self.root}")
                return picture
        for name in dict.fromkeys(PurePosixPath(name.replace("\\", "/")).name for name in names):
            found = self._below.get(name, [])
            if len(found) > 1:
                raise BadSample(f"{len(found)} images are named {name}, the first {found[0]}")
            if found:
                return found[0]
        raise BadSample(f"no image {names[0] if names else '(it has no name)'} under {self.root}")

    def name(self, picture: Path) -> str:
        """Return an image's path, relative to the root if it lies below it."""
        return (picture.relative_to(self.root) if picture.is_relative_to(self.root) else picture).as_posix()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


def load_picture(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Load an image as the annotation tool showed it: rotated by its EXIF orientation where the sizes agree.

    Raises `BadSample` if its size differs from that of the annotated image.
    """
    image = read_image(path, upright=True)
    if size is None or image.shape[1::-1] == size:
        return image
    stored = read_image(path)
    if stored.shape[1::-1] == size:
        return stored
    wide, high = image.shape[1::-1]
    raise BadSample(f"has {wide} × {high} pixels, but the annotated one has {size[0]} × {size[1]}")


def own_name(source: Path) -> str:
    """Name a dataset after its source, or after the source's folder if the file has a generic name."""
    common = ("data", "dataset", "annotations", "default", "result", "instances_default", "person_keypoints_default")
    if source.is_file() and source.stem.lower() not in common:
        return source.stem
    return (source.parent if source.is_file() else source).absolute().name


def scheme_from(annotations: Annotations, name: str) -> LandmarkScheme:
    """Build the scheme that a file itself describes: points, names, lines and mirrored pairs.

    The pairs are the file's own (`flip_idx`) if it has them; otherwise they follow from left and right in the names.
    """
    count = len(annotations.names) or annotations.points
    if not count:
        first = f" (first problem: {annotations.problems[0]})" if annotations.problems else ""
        raise UserError(f"no annotated point in {annotations.source}{first}")
    pairs = annotations.pairs or pairs_of_names(annotations.names)
    edges = [edge for edge in annotations.edges if max(edge) < count and min(edge) >= 0]
    return LandmarkScheme(name, count, pairs=tuple(pairs), edges=tuple(edges), names=tuple(annotations.names))


def _order(annotations: Annotations, scheme: LandmarkScheme) -> tuple[str, ...]:
    """Return the names of the file's points in the scheme's order; empty if they have none.

    Raises:
        UserError: the file's points do not match the scheme.
    """
    own = tuple(annotations.names)
    if scheme.names and own:
        missing = [name for name in scheme.names if name not in own]
        if missing and annotations.ordered:
            has = ", ".join(own[:12])
            raise UserError(f"{annotations.source} has no point '{missing[0]}' of '{scheme.name}'; it has {has}")
        return scheme.names
    count = len(own) or annotations.points
    if count and count != scheme.points:
        raise UserError(
            f"{annotations.source} has {count} points a face, the scheme '{scheme.name}' has {scheme.points}"
        )
    if own and not annotations.ordered:
        annotations.warnings.append(
            f"the scheme '{scheme.name}' has no names; the points of {annotations.source} are taken as {', '.join(own)}"
        )
    return own


def _points(face: Face, names: Sequence[str], count: int, strict: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return points (K, 2), NaN if not annotated, and occlusion (K,); raise `BadSample` if the points do not match."""
    marks = face.marks
    if isinstance(marks, Mapping):
        unknown = [name for name in marks if name not in names]
        if unknown and strict:
            raise BadSample(f"no point of the scheme is named '{unknown[0]}'")
        ordered: list[Mark | None] = [marks.get(name) for name in names]
    else:
        ordered = list(marks)
    if len(ordered) != count:
        raise BadSample(f"{len(ordered)} points, {count} expected")
    points = np.array([(np.nan, np.nan) if mark is None else (mark.x, mark.y) for mark in ordered], np.float64)
    occluded = np.array([mark is not None and mark.occluded for mark in ordered], np.uint8)
    return check_landmarks(points, count), occluded


def _settle(declared: Sequence[str | None], groups: Sequence[str], fraction: float, warnings: list[str]) -> list[str]:
    """Assign `train` or `test` to each face as the file does; validation faces serve as test faces if it has none.

    If the file has one split only, or none, a share of the photographs is held out for testing.
    """
    kinds = {split for split in declared if split}
    if len(kinds) < 2:
        shared = assign_splits(groups, fraction)
        return [shared[group] for group in groups]
    if kinds == {"train", "val"} or kinds == {"val", "test"}:
        meaning = {"train": "train", "val": "test", "test": "test"} if "train" in kinds else {"val": "train"}
    else:
        meaning = {"val": "train"}
        if "val" in kinds:
            warnings.append("faces for validation join those for training, which hold out some of their own")
    return [meaning.get(split, split) if split else "train" for split in declared]


def to_archive(
    annotations: Annotations, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Convert the faces of an annotation file to an `Archive`.

    Args:
        annotations: the result of a reader.
        scheme: the scheme; if None, one is made from the file.
        name: name of a scheme made from the file; empty: the name of the file.
        test_fraction: share of the photographs held out for testing if the file has no splits.

    Raises:
        UserError: nothing is annotated, or the points do not match the scheme. Problems of single faces are listed
            in the archive.
    """
    made = scheme or scheme_from(annotations, name or own_name(annotations.source))
    archive = Archive(made, warnings=annotations.warnings, problems=annotations.problems)
    names = _order(annotations, made)
    finder = PictureFinder(annotations.root, annotations.source.is_dir())
    found = []
    for index, face in enumerate(annotations.faces):
        try:
            points, occluded = _points(face, names, made.points, strict=scheme is not None and bool(scheme.names))
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
    """Return the name of a face's image and the function that loads it."""
    try:
        picture = finder(face.picture, face.places)
    except BadSample:
        if face.load is None:
            raise
        return face.picture[0] if face.picture else face.where, face.load
    return finder.name(picture), partial(load_picture, picture, face.size)
