"""LabelMe: a JSON file for each image, beside it or in a folder of their own.

A face is the shapes of type `point` that share a `group_id`, or all that have none; their labels name the points.
A shape of type `points` with several is a face without names. A flag `occluded` of a shape, set to true, is kept as
the point's occlusion. Folders `train/`, `val/` and `test/` are the splits. If the file of `imagePath` is missing,
the embedded image (`imageData`) is used.

Pixels: LabelMe's canvas is the image's rectangle from 0 to its width and height, so that the centre of the first
pixel is at 0.5: half a pixel is subtracted.
"""

from __future__ import annotations

import base64
import binascii
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.archives.annotations import (
    Annotations,
    Face,
    Mark,
    load_json,
    natural,
    number,
    size_of,
    split_of,
    to_archive,
)
from kd_loss.archives.sample import Archive
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, decode_image
from kd_loss.schemes.landmarks import LandmarkScheme


def is_labelme(values: Any) -> bool:
    """Whether the values of a JSON file are those of LabelMe's format."""
    return isinstance(values, dict) and isinstance(values.get("shapes"), list) and "imagePath" in values


def read_labelme(
    source: Path, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Parse a folder of LabelMe's files, or one (see the module's text); `scheme` None: in the scheme of the labels.

    Raises:
        UserError: nothing is annotated, or other points than those of the scheme.
    """
    found = Annotations(source, "LabelMe", ordered=False)
    for path in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
        try:
            values = load_json(path)
        except BadSample as error:
            found.problems.append(f"{path}: {error}")
            continue
        if is_labelme(values):
            _add(found, path, values)
        elif source.is_file():
            found.problems.append(f"{path}: is not a LabelMe file: shapes and imagePath are missing")
    found.names = natural(n for face in found.faces if isinstance(face.marks, dict) for n in face.marks)
    if any(not isinstance(face.marks, dict) for face in found.faces):
        found.names, found.points = [], max(len(face.marks) for face in found.faces)
    return to_archive(found, scheme, name, test_fraction)


def _embedded(path: Path) -> np.ndarray:
    """The image inside a LabelMe file, upright."""
    values = load_json(path)
    data = values.get("imageData") if isinstance(values, dict) else None
    if not isinstance(data, str):
        raise BadSample("its imageData is not an image")
    try:
        return decode_image(np.frombuffer(base64.b64decode(data, validate=True), np.uint8), upright=True)
    except (ValueError, binascii.Error):
        raise BadSample("its imageData is not an image") from None


def _place(values: Any, occluded: bool) -> Mark:
    if not isinstance(values, list) or len(values) != 2:
        raise BadSample("a point is not [x, y]")
    return Mark(number(values[0]) - 0.5, number(values[1]) - 0.5, occluded)


def _groups(shapes: list[Any]) -> dict[Any, dict[str, Mark] | list[Mark | None]]:
    """The faces of an image, by the group of their shapes."""
    faces: dict[Any, dict[str, Mark] | list[Mark | None]] = {}
    for position, shape in enumerate(shapes):
        kind = shape.get("shape_type") if isinstance(shape, dict) else None
        if kind not in ("point", "points"):
            continue
        points, flags = shape.get("points"), shape.get("flags")
        occluded = isinstance(flags, dict) and flags.get("occluded") is True
        if not isinstance(points, list) or not points:
            raise BadSample(f"shape {position + 1} has no points")
        if kind == "points" and len(points) > 1:
            faces["points", position] = [_place(point, occluded) for point in points]
            continue
        label, group = str(shape.get("label")), str(shape.get("group_id"))
        face = faces.setdefault(group, {})
        assert isinstance(face, dict)
        if label in face:
            raise BadSample(f"point '{label}' appears twice; give the points of each face a group_id")
        face[label] = _place(points[0], occluded)
    return faces


def _add(found: Annotations, path: Path, values: dict[str, Any]) -> None:
    """The faces of one file."""
    stated = values["imagePath"]
    names = [stated] if isinstance(stated, str) and stated else []
    names += [f"{path.stem}{suffix}" for suffix in IMAGE_SUFFIXES]
    embedded = isinstance(values.get("imageData"), str)
    try:
        faces = _groups(values["shapes"])
    except BadSample as error:
        found.problems.append(f"{path}: {error}")
        return
    inside = path.relative_to(found.root)
    for group, marks in faces.items():
        found.faces.append(
            Face(
                str(path) if len(faces) == 1 else f"{path} face {group}",
                [name.replace("\\", "/") for name in names],
                marks,
                split_of(str(inside.parent)),
                size_of(values.get("imageWidth"), values.get("imageHeight")),
                (path.parent, path.parent / "images", path.parent.parent / "images"),
                partial(_embedded, path) if embedded else None,
            )
        )
