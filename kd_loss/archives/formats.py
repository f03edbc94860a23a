"""The formats of annotation tools by name, and their detection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kd_loss.archives.annotations import load_json, open_json
from kd_loss.archives.coco import coco_files, is_coco, read_coco
from kd_loss.archives.cvat import read_cvat
from kd_loss.archives.label_studio import is_label_studio, read_label_studio
from kd_loss.archives.labelme import is_labelme, read_labelme
from kd_loss.archives.sample import Archive
from kd_loss.archives.yolo_pose import is_yolo_pose, read_yolo_pose
from kd_loss.imaging.pictures import BadSample
from kd_loss.system.errors import UserError

#: name -> `(source, scheme or None, name of a scheme made from the file, share of photographs for testing)` -> faces
READERS: dict[str, Callable[..., Archive]] = {
    "coco": read_coco,
    "cvat": read_cvat,
    "label_studio": read_label_studio,
    "yolo_pose": read_yolo_pose,
    "labelme": read_labelme,
}
_KINDS = {"coco": is_coco, "label_studio": is_label_studio, "labelme": is_labelme}


def _kind_of(values: object) -> str | None:
    return next((name for name, fits in _KINDS.items() if fits(values)), None)


def _kind(path: Path) -> str | None:
    """Detect the format of one JSON file among several; None if it is unknown or the file cannot be read."""
    try:
        return _kind_of(load_json(path))
    except BadSample:
        return None


def found_format(source: Path) -> str | None:
    """Detect the format of a file or folder by file names and, for JSON, by content; None if it is unknown.

    A folder with `.pts`, `.npy` or `.csv` files on top, or in its `train/` or `test/`, is of none of these formats.

    Raises:
        UserError: the source is a JSON file that is invalid or of none of these formats.
    """
    if source.is_file():
        suffix = source.suffix.lower()
        if suffix == ".json":
            kind = _kind_of(open_json(source))
            if kind is None:
                raise UserError(f"{source} is in none of the known formats: COCO keypoints, Label Studio or LabelMe")
            return kind
        return {".xml": "cvat", ".yaml": "yolo_pose", ".yml": "yolo_pose"}.get(suffix)
    plain = (source / place for place in (".", "train", "test"))
    if not source.is_dir() or any(next(p.glob(f"*{s}"), None) for p in plain for s in (".pts", ".npy", ".csv")):
        return None
    if any(map(is_yolo_pose, source.glob("*.y*ml"))):
        return "yolo_pose"
    if any(next(folder.glob("*.xml"), None) for folder in (source, source / "annotations")):
        return "cvat"
    files = coco_files(source) or sorted(source.glob("*/*.json"))
    return next((kind for kind in map(_kind, files[:20]) if kind), None)
