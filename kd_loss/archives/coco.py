"""COCO keypoints: one JSON file of `images`, `annotations` and `categories`, or a folder with one for each split.

An annotation has `keypoints`, x, y, v of each point: v = 0 not labelled (NaN here), 1 labelled but hidden (kept as
its occlusion), 2 labelled and visible. The category names the points and has the lines between them (`skeleton`,
counted from 1; some tools count from 0, recognised by a 0 among the indices); without a category the points have no
names. In a file without any 2, 1 means that a point is labelled. Crowds and annotations without a labelled
point are skipped.

Pixels: the format is documented as "0-indexed": an integer is a pixel, its centre at the integer, as in this
package; coordinates are kept. (CVAT and other tools export their own corner-based numbers as COCO; this offset of
half a pixel cannot be detected from the file.)

Images lie beside the file, in `images/`, or in a folder named as the file's split (`train2017/`,
`images/train2017/`), or anywhere below if their file name is unique.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from kd_loss.archives.annotations import (
    Annotations,
    Face,
    Mark,
    number,
    open_json,
    size_of,
    split_of,
    to_archive,
)
from kd_loss.archives.sample import Archive
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError


def is_coco(values: Any) -> bool:
    """Whether the values of a JSON file are those of COCO's format."""
    return isinstance(values, dict) and all(
        isinstance(values.get(key), list) for key in ("images", "annotations", "categories")
    )


def coco_files(source: Path) -> list[Path]:
    """Return the JSON files of a source: the file itself, or those in a folder or in its `annotations/`."""
    if source.is_file():
        return [source]
    return sorted(path for folder in (source, source / "annotations") for path in folder.glob("*.json"))


def read_coco(
    source: Path, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Parse COCO keypoints (see the module's text); `scheme` None: in the scheme that the file itself describes.

    Raises:
        UserError: a file that is not JSON of this format, or whose points are not those of the scheme.
    """
    found = Annotations(source, "COCO")
    files = [(path, open_json(path)) for path in coco_files(source)]
    files = [(path, values) for path, values in files if source.is_file() or is_coco(values)]
    if not files:
        raise UserError(f"no COCO keypoints in {source}: expected a .json, or some in annotations/")
    for path, values in files:
        if not is_coco(values):
            raise UserError(f"{path} is not COCO keypoints: images, annotations and categories are expected")
        _add(found, path, values, scheme)
    return to_archive(found, scheme, name, test_fraction)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _categories(path: Path, values: dict[str, Any], scheme: LandmarkScheme | None) -> dict[Any, dict[str, Any]]:
    """Return the categories with keypoints, by id."""
    known = [c for c in values["categories"] if isinstance(c, dict) and isinstance(c.get("keypoints"), list)]
    known = [c for c in known if c["keypoints"]]
    if not known:
        return {_key(c.get("id")): {"keypoints": []} for c in values["categories"] if isinstance(c, dict)}
    if scheme is not None and len(known) > 1:
        known = [c for c in known if len(c["keypoints"]) == scheme.points] or known
    kinds = {tuple(map(str, c["keypoints"])) for c in known}
    if len(kinds) > 1:
        names = ", ".join(f"{c.get('name')} ({len(c['keypoints'])} points)" for c in known)
        raise UserError(f"{path} has several kinds of objects: {names}; keep only one")
    return {_key(c.get("id")): c for c in known}


def _key(value: Any) -> Any:
    return value if isinstance(value, int | str) else None


def _skeleton(category: dict[str, Any]) -> list[tuple[int, int]]:
    lines = category.get("skeleton")
    edges = [line for line in lines if isinstance(line, list) and len(line) == 2] if isinstance(lines, list) else []
    edges = [line for line in edges if all(type(i) is int for i in line)]
    first = 0 if any(0 in line for line in edges) else 1
    return [(a - first, b - first) for a, b in edges if a != b]


def _hides(values: dict[str, Any]) -> bool:
    """Whether a visibility of 1 means hidden, i.e. whether some points have 2."""
    lists = [entry.get("keypoints") for entry in values["annotations"] if isinstance(entry, dict)]
    return any(isinstance(points, list) and 2 in points[2::3] for points in lists)


def _marks(values: Any, hides: bool) -> list[Mark | None]:
    if not isinstance(values, list) or len(values) % 3:
        raise BadSample("keypoints are not x, y, v of each point")
    marks: list[Mark | None] = []
    for start in range(0, len(values), 3):
        flag = number(values[start + 2], "a visibility")
        x, y = (number(value) for value in values[start : start + 2])
        # COCO-WholeBody stores fractions above 0, which are valid too
        marks.append(None if flag <= 0 else Mark(x, y, occluded=hides and flag == 1))
    return marks


def _add(found: Annotations, path: Path, values: dict[str, Any], scheme: LandmarkScheme | None) -> None:
    """The faces of one file."""
    categories = _categories(path, values, scheme)
    category: dict[str, Any] = next(iter(categories.values()), {"keypoints": []})
    names = [str(name) for name in category["keypoints"]]
    if len(set(names)) != len(names):
        raise UserError(f"{path}: two keypoints share the name '{next(n for n in names if names.count(n) > 1)}'")
    if found.names and found.names != names:
        raise UserError(f"{path} has other keypoints than the other files of {found.source}")
    found.names, found.edges = names, _skeleton(category)
    images = {_key(image.get("id")): image for image in values["images"] if isinstance(image, dict)}
    split, hides = split_of(path.stem), _hides(values)
    word = next((w for w in path.stem.split("_") if split_of(w)), path.stem)
    places = tuple(found.root / p / word for p in ("", "images")) + (path.parent, path.parent / "images")
    for position, entry in enumerate(values["annotations"], 1):
        where = f"{path} annotation {position}"
        if not isinstance(entry, dict):
            found.problems.append(f"{where}: is not an object")
            continue
        if "keypoints" not in entry or entry.get("iscrowd") == 1 or _key(entry.get("category_id")) not in categories:
            continue
        image = images.get(_key(entry.get("image_id")))
        try:
            marks = _marks(entry["keypoints"], hides)
            if image is None or not _text(image.get("file_name")):
                raise BadSample("its image is not in the file")
        except BadSample as error:
            found.problems.append(f"{where}: {error}")
            continue
        if not any(marks):
            continue
        file = _text(image["file_name"])
        size = size_of(image.get("width"), image.get("height"))
        seen: Any = marks
        if names and len(marks) == len(names):
            seen = {name: mark for name, mark in zip(names, marks, strict=True) if mark is not None}
        found.faces.append(Face(where, [file], seen, split or split_of(str(Path(file).parent)), size, places))
    if not names:
        counts = Counter(len(face.marks) for face in found.faces)
        found.points = counts.most_common(1)[0][0] if counts else 0
