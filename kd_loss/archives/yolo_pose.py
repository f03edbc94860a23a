"""YOLO-pose as Ultralytics documents it: a `data.yaml`, images in `images/…`, and for each a text in `labels/…`.

`kpt_shape: [K, 2]` or `[K, 3]` gives the number of points and whether each has a visibility; `flip_idx` maps each point
to its mirror image (the scheme's pairs), `kpt_names` names them. A line of a text is a face:
class, box (centre, width, height), then the points, all as fractions of the image's width and height. Visibility 0
is not labelled (NaN here), 1 labelled but hidden (kept as its occlusion), 2 visible; without visibilities a point at
0, 0 or left of or above the image is not labelled. `train`, `val` and `test` are folders, lists of folders, or texts
of paths, relative to `path`, which is resolved from the file's folder. An image without a text has no face.

Pixels: fractions of the image's extent, so that 0 is the outer edge of the first pixel: `x * width − 0.5`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_loss.archives.annotations import Annotations, Face, Mark, number, to_archive
from kd_loss.archives.plain_yaml import read_yaml
from kd_loss.archives.sample import Archive
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, MOST_OF_NOTE, MOST_OF_TABLE, BadSample, read_file, read_text
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

_TURNED = range(5, 9)  # EXIF orientations that swap width and height


def is_yolo_pose(path: Path) -> bool:
    """Whether a YAML file has a `kpt_shape`."""
    try:
        return b"kpt_shape" in read_file(path, MOST_OF_NOTE)
    except BadSample:
        return False


def yolo_file(source: Path) -> Path:
    """The YAML file of a source: itself, or `data.yaml` or the only one with a `kpt_shape` in a folder."""
    if not source.is_dir():
        return source
    if (source / "data.yaml").is_file():
        return source / "data.yaml"
    files = [path for path in sorted(source.glob("*.y*ml")) if is_yolo_pose(path)]
    if len(files) != 1:
        raise UserError(f"{len(files)} .yaml files with kpt_shape in {source}; give the path of one of them")
    return files[0]


def read_yolo_pose(
    source: Path, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Parse a YOLO-pose dataset (see the module's text); `scheme` None: in the scheme that its YAML file describes.

    Raises:
        UserError: a YAML file without `kpt_shape` or images, or points that are not those of the scheme.
    """
    path = yolo_file(source)
    values = read_yaml(path)
    shape = values.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int for n in shape):
        raise UserError(f"{path}: kpt_shape is not [points, 2 or 3]")
    points, numbers = shape
    if not 2 <= points <= 10_000 or numbers not in (2, 3):
        raise UserError(f"{path}: kpt_shape {shape} is not [2…10000, 2 or 3]")
    found = Annotations(path.parent if source.is_dir() else path, "YOLO-pose", points=points)
    found.pairs, found.names = _pairs(path, values.get("flip_idx"), points), _names(path, values, points)
    pictures = 0
    for split in ("train", "val", "test"):
        for picture in _pictures(path, values, split):
            pictures += 1
            label = _label_of(picture)
            if label.is_file():
                _add(found, picture, label, split, points, numbers)
    if not pictures:
        raise UserError(f"{path}: no image under its train, val and test")
    return to_archive(found, scheme, name, test_fraction)


def _pairs(path: Path, flip: Any, points: int) -> list[tuple[int, int]]:
    if flip is None or flip == []:
        return []
    if not isinstance(flip, list) or sorted(i if type(i) is int else -1 for i in flip) != list(range(points)):
        raise UserError(f"{path}: flip_idx is not a permutation of 0…{points - 1}")
    for index, other in enumerate(flip):
        if flip[other] != index:
            raise UserError(f"{path}: flip_idx maps point {index} to {other}, but {other} to {flip[other]}")
    return [(index, other) for index, other in enumerate(flip) if index < other]


def _names(path: Path, values: dict[str, Any], points: int) -> list[str]:
    names = values.get("kpt_names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    if not isinstance(names, list):
        return []
    if len(names) != points or len({str(name) for name in names}) != points:
        raise UserError(f"{path}: kpt_names has {len(names)} names; expected {points} different ones")
    return [str(name) for name in names]


def _pictures(path: Path, values: dict[str, Any], split: str) -> Iterator[Path]:
    """The images of a split."""
    names = values.get(split)
    for entry in names if isinstance(names, list) else [names]:
        if not isinstance(entry, str) or not entry:
            continue
        base = str(values.get("path") or "")
        # Ultralytics resolves it from a folder in its settings; a moved dataset lies beside its file
        tries = [Path(os.path.abspath(path.parent / base / entry)), Path(os.path.abspath(path.parent / entry))]
        place = next((place for place in tries if place.exists()), None)
        if place is None:
            raise UserError(f"{path}: {split} names {entry}, which does not exist (tried {tries[0]})")
        if place.is_dir():
            yield from sorted(p for p in place.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        else:
            try:
                lines = read_file(place, MOST_OF_TABLE).decode("utf-8", "replace").splitlines()
            except BadSample as error:
                raise UserError(f"{place} {error}") from None
            yield from (Path(os.path.abspath(place.parent / line.strip())) for line in lines if line.strip())


def _label_of(picture: Path) -> Path:
    """`…/images/train/a.jpg` -> `…/labels/train/a.txt`: the last folder of that name; beside it where there is none."""
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image as it is shown, upright, from its header; `BadSample` without one."""
    from PIL import Image  # Matplotlib brings it

    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(274, 1) in _TURNED
    except Exception:  # damaged headers raise many exception types
        raise BadSample("does not open as an image") from None
    return (height, width) if turned else (width, height)


def _add(found: Annotations, picture: Path, label: Path, split: str, points: int, numbers: int) -> None:
    """The faces of one image."""
    try:
        lines = read_text(label, MOST_OF_NOTE).splitlines()
    except BadSample as error:
        found.problems.append(f"{label}: {error}")
        return
    lines = [line for line in lines if line.strip()]
    if not lines:
        return
    try:
        size = picture_size(picture)
    except BadSample as error:
        found.problems.append(f"{picture}: {error}")
        return
    for position, line in enumerate(lines, 1):
        where = f"{label} line {position}"
        try:
            marks = _line(line, size, points, numbers)
        except BadSample as error:
            found.problems.append(f"{where}: {error}")
            continue
        seen: Any = marks
        if found.names:
            seen = {name: mark for name, mark in zip(found.names, marks, strict=True) if mark is not None}
        found.faces.append(Face(where, [str(picture)], seen, split, size))


def _line(line: str, size: tuple[int, int], points: int, numbers: int) -> list[Mark | None]:
    words = re.split(r"[\s,]+", line.strip())
    if len(words) != 5 + points * numbers:
        raise BadSample(f"{len(words)} numbers, {5 + points * numbers} expected: class, box and {points} × {numbers}")
    values = [number(word, f"'{word[:20]}'") for word in words]
    marks: list[Mark | None] = []
    for start in range(5, len(values), numbers):
        x, y = values[start : start + 2]
        flag = values[start + 2] if numbers == 3 else float((x, y) != (0, 0) and x >= 0 and y >= 0) * 2
        if flag > 0 and max(abs(x), abs(y)) > 2:
            raise BadSample(f"{x:g}, {y:g} is not a fraction of the image's width and height")
        marks.append(Mark(x * size[0] - 0.5, y * size[1] - 0.5, flag == 1) if flag > 0 else None)
    return marks
