"""Label Studio: the JSON or JSON-MIN export of a project with `KeyPointLabels`.

Each point's label is its name. The points of a face share a parent region (`parentID`); if none has one and a label
occurs twice in an image, they lie inside one rectangle; otherwise all points of an image form one face. The first
annotation of a task that was not cancelled counts. The export does not store the order of the labels: they are
sorted by their trailing numbers, or by first appearance, unless the scheme names its points.

Pixels: x and y are percentages of the image's width and height, from its left upper corner, so that 0 is the outer
edge of the first pixel: `x / 100 * original_width − 0.5`.

Images are found by the names of their uploads (`/data/upload/1/0a1b2c3d-face.jpg` is `face.jpg`, too), by the path in
`?d=` for local files, or by the last part of their URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from kd_loss.archives.annotations import (
    Annotations,
    Face,
    Mark,
    natural,
    number,
    open_json,
    split_of,
    to_archive,
)
from kd_loss.archives.sample import Archive
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError


def is_label_studio(values: Any) -> bool:
    """Whether the values of a JSON file are tasks of Label Studio."""
    return isinstance(values, list) and any(
        isinstance(task, dict) and ("data" in task or _minimal_points(task)) for task in values
    )


def read_label_studio(
    source: Path, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Parse an export (see the module's text); `scheme` None: in the scheme of its labels.

    Raises:
        UserError: a file that is not JSON of this format, or whose points are not those of the scheme.
    """
    found = Annotations(source, "Label Studio", ordered=False)
    files = [(path, open_json(path)) for path in sorted(source.glob("*.json")) or [source]]
    files = [(path, values) for path, values in files if source.is_file() or is_label_studio(values)]
    if not files:
        raise UserError(f"no Label Studio export in {source}: expected a .json")
    for path, values in files:
        if not is_label_studio(values):
            raise UserError(f"{path} is not a Label Studio export: expected a list of tasks; export as JSON")
        for position, task in enumerate(values, 1):
            where = f"{path} task {task.get('id', position) if isinstance(task, dict) else position}"
            try:
                found.faces += list(_task(task, where, split_of(path.stem) if len(files) > 1 else None))
            except BadSample as error:
                found.problems.append(f"{where}: {error}")
    found.names = natural(label for face in found.faces for label in face.marks)  # type: ignore[misc]
    return to_archive(found, scheme, name, test_fraction)


def picture_names(address: str) -> list[str]:
    """Return the candidate file names of an image, the likeliest first.

    >>> picture_names("/data/local-files/?d=faces/a%20b.jpg")
    ['faces/a b.jpg', 'a b.jpg']
    >>> picture_names("/data/upload/3/0a1b2c3d-face.jpg")
    ['data/upload/3/0a1b2c3d-face.jpg', '0a1b2c3d-face.jpg', 'face.jpg']
    """
    try:
        parts = urlsplit(address)
        path = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    except ValueError:
        path = address
    path = path.lstrip("/")
    last = path.rpartition("/")[2]
    return [name for name in dict.fromkeys([path, last, re.sub(r"^[0-9a-f]{8}-", "", last)]) if name]


def _minimal_points(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points of a task in a JSON-MIN export, at any depth."""
    lists = [value for value in task.values() if isinstance(value, list)]
    return [item for items in lists for item in items if isinstance(item, dict) and "keypointlabels" in item]


def _regions(task: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    """Return the regions of a task, each with its `value`, and the URL of its image."""
    if "data" not in task:
        points = [{"type": "keypointlabels", "value": item, **item} for item in _minimal_points(task)]
        texts = [value for key, value in task.items() if isinstance(value, str) and key != "annotator"]
        return points, task.get("image", next((text for text in texts if "." in text and "/" in text), None))
    given = task.get("annotations", task.get("completions"))
    kept = [a for a in given if isinstance(a, dict) and not a.get("was_cancelled")] if isinstance(given, list) else []
    regions = kept[0].get("result") if kept else []
    data = task["data"] if isinstance(task["data"], dict) else {}
    address = data.get("image", next((v for v in data.values() if isinstance(v, str)), None))
    return [r for r in regions if isinstance(r, dict)] if isinstance(regions, list) else [], address


def _inside(mark: dict[str, Any], box: dict[str, Any]) -> bool:
    left, top, wide, high = (number(box.get(key), "a rectangle") for key in ("x", "y", "width", "height"))
    return left <= number(mark.get("x")) <= left + wide and top <= number(mark.get("y")) <= top + high


def _groups(regions: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The points of each face."""
    points = [r for r in regions if r.get("type") == "keypointlabels" and isinstance(r.get("value"), dict)]
    boxes = [r for r in regions if r.get("type") == "rectanglelabels" and isinstance(r.get("value"), dict)]
    labels = [_label(point) for point in points]
    apart = len(set(labels)) < len(labels) and boxes and not any(point.get("parentID") for point in points)
    groups: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        owner = str(point.get("parentID") or "")
        if apart:
            owners = [str(box.get("id")) for box in boxes if _inside(point["value"], box["value"])]
            if len(owners) != 1:
                raise BadSample(f"point '{_label(point)}' is in {len(owners)} rectangles; make one of them its parent")
            owner = owners[0]
        groups.setdefault(owner, []).append(point)
    return groups


def _label(region: dict[str, Any]) -> str:
    labels = region["value"].get("keypointlabels")
    if not isinstance(labels, list) or len(labels) != 1:
        raise BadSample("a point must have exactly one label")
    return str(labels[0])


def _task(task: Any, where: str, split: str | None) -> Iterator[Face]:
    """The faces of one task."""
    if not isinstance(task, dict):
        raise BadSample("is not an object")
    regions, address = _regions(task)
    groups = _groups(regions)
    if groups and not isinstance(address, str):
        raise BadSample("no image is named")
    for count, points in enumerate(groups.values(), 1):
        marks: dict[str, Mark] = {}
        for point in points:
            width, height = (number(point.get(f"original_{side}"), "the image's size") for side in ("width", "height"))
            if point.get("image_rotation"):
                raise BadSample("the image was rotated in the tool; rotate the file instead and annotate it again")
            label = _label(point)
            if label in marks:
                raise BadSample(
                    f"point '{label}' appears twice; draw a rectangle around each face and make it the "
                    "parent of its points"
                )
            x, y = (number(point["value"].get(axis)) for axis in "xy")
            marks[label] = Mark(x / 100 * width - 0.5, y / 100 * height - 0.5)
        size = (round(width), round(height))
        names = picture_names(address)
        face_split = split or split_of(str(Path(names[0]).parent) if names else None)
        yield Face(where if len(groups) == 1 else f"{where} face {count}", names, marks, face_split, size)
