"""Tiny files of annotation tools, written by the tests that read them.

A face is its points (K, 2) in pixels that start at the first pixel's centre, NaN where not labelled. Every writer
takes picture name -> faces, writes 60 × 40 pictures too, and returns the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np

WIDTH, HEIGHT = 60, 40
NAMES = ("nose", "left_eye", "right_eye", "chin")
#: points of one face; the eyes are each other's mirror images
FACE = np.array([[30.0, 20], [40, 10], [20.25, 10], [30, 33.5]])
Pictures = dict[str, list[np.ndarray]]


def pictures(root: Path, names: Pictures, folder: str = "images") -> None:
    for name in names:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))


def there(point: np.ndarray) -> bool:
    return bool(np.isfinite(point).all())


def coco(root: Path, faces: Pictures, hidden: int | None = None, name: str = "faces.json") -> Path:
    pictures(root, faces)
    annotations = []
    for image, points in ((i, p) for i, group in enumerate(faces.values()) for p in group):
        values: list[float] = []
        for index, point in enumerate(points):
            values += [*map(float, point), 1 if index == hidden else 2] if there(point) else [0, 0, 0]
        annotations.append({"id": len(annotations), "image_id": image, "category_id": 7, "keypoints": values})
    names = [f"p{i}" for i in range(len(annotations and annotations[0]["keypoints"]) // 3)]  # type: ignore[arg-type]
    names = list(NAMES) if len(names) == len(NAMES) else names
    values = {
        "images": [{"id": i, "file_name": n, "width": WIDTH, "height": HEIGHT} for i, n in enumerate(faces)],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "face", "keypoints": names, "skeleton": [[1, 2], [1, 3]]}],
    }
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def cvat(root: Path, faces: Pictures, hidden: int | None = None, subset: str = "") -> Path:
    pictures(root, faces)
    count = max(len(face) for group in faces.values() for face in group)
    names = NAMES if count == len(NAMES) else tuple(f"p{i}" for i in range(count))
    nodes = "".join(f'<circle data-node-id="{i}" data-label-name="{n}"/>' for i, n in enumerate(names))
    svg = f'{nodes}<line data-node-from="0" data-node-to="1"/>'.replace("<", "&lt;").replace(">", "&gt;")
    labels = f"<label><name>face</name><type>skeleton</type><svg>{svg}</svg></label>" + "".join(
        f"<label><name>{n}</name><type>points</type><parent>face</parent></label>" for n in names
    )
    images = ""
    for number, (name, group) in enumerate(faces.items()):
        attributes = f'id="{number}" name={quoteattr(name)} width="{WIDTH}" height="{HEIGHT}"'
        images += f"<image {attributes}{f' subset={quoteattr(subset)}' if subset else ''}>"
        for face in group:
            images += '<skeleton label="face" source="manual" z_order="0">'
            # CVAT writes the points of a skeleton in any order
            for index in reversed(range(len(face))):
                x, y = face[index] + 0.5 if there(face[index]) else (1.0, 1.0)
                outside, occluded = int(not there(face[index])), int(index == hidden)
                images += (
                    f'<points label="{names[index]}" source="manual" outside="{outside}" occluded="{occluded}" '
                    f'points="{float(x)!r},{float(y)!r}"></points>'
                )
            images += "</skeleton>"
        images += "</image>"
    path = root / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"
    )
    return path


def label_studio(root: Path, faces: Pictures, hidden: int | None = None) -> Path:
    del hidden  # the tool knows no such flag
    pictures(root, faces)
    tasks = []
    for name, group in faces.items():
        result = []
        for number, face in enumerate(group):
            for index, point in enumerate(face):
                if there(point):
                    label = NAMES[index] if len(face) == len(NAMES) else f"p{index}"
                    value = {
                        "x": float(100 * (point[0] + 0.5) / WIDTH),
                        "y": float(100 * (point[1] + 0.5) / HEIGHT),
                        "width": 0.4,
                        "keypointlabels": [label],
                    }
                    sides = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
                    region = {"id": f"r{number}-{index}", "type": "keypointlabels", "value": value, **sides}
                    result.append({**region, "parentID": f"box{number}"} if len(group) > 1 else region)
        annotations = [{"id": 1, "was_cancelled": True, "result": []}, {"id": 2, "result": result}]
        upload = f"/data/upload/1/0a1b2c3d-{name}"
        tasks.append({"id": 10 + len(tasks), "data": {"image": upload}, "annotations": annotations})
    path = root / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def labelme(root: Path, faces: Pictures, hidden: int | None = None) -> Path:
    pictures(root, faces, "")
    for name, group in faces.items():
        shapes = []
        for number, face in enumerate(group):
            for index, point in enumerate(face):
                if there(point):
                    shapes.append(
                        {
                            "label": NAMES[index] if len(face) == len(NAMES) else f"p{index}",
                            "points": [[float(v) + 0.5 for v in point]],
                            "group_id": number if len(group) > 1 else None,
                            "shape_type": "point",
                            "flags": {"occluded": index == hidden},
                        }
                    )
        values = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": Path(name).name, "imageData": None}
        sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / name).with_suffix(".json").write_text(json.dumps({**values, **sizes}))
    return root


def yolo(root: Path, faces: Pictures, hidden: int | None = None, split: str = "train") -> Path:
    pictures(root, faces, f"images/{split}")
    count = max(len(face) for group in faces.values() for face in group)
    for name, group in faces.items():
        label = (root / "labels" / split / name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for face in group:
            numbers = [0.5, 0.5, 0.9, 0.9]
            for index, point in enumerate(face):
                x, y = (point + 0.5) / (WIDTH, HEIGHT) if there(point) else (0.0, 0.0)
                numbers += [float(x), float(y), (1 if index == hidden else 2) if there(point) else 0]
            lines.append(" ".join(["0", *map(repr, numbers)]))
        label.write_text("\n".join(lines))
    names = f"kpt_names:\n  0: [{', '.join(NAMES)}]\n" if count == len(NAMES) else ""
    path = root / "data.yaml"
    found = [split for split in ("train", "val", "test") if (root / "images" / split).is_dir()]
    splits = "".join(f"{split}: images/{split}\n" for split in found)
    path.write_text(f"path: .\n{splits}kpt_shape: [{count}, 3]  # points, numbers\n{names}names:\n  0: face\n")
    return path


WRITERS = {"coco": coco, "cvat": cvat, "label_studio": label_studio, "labelme": labelme, "yolo_pose": yolo}


def crowd(count: int = 12) -> Pictures:
    """Pictures of a face or two, each a little different."""
    rng = np.random.default_rng(0)
    return {
        f"face{i}.png": [FACE + rng.normal(0, 0.5, FACE.shape) for _ in range(1 + (i % 4 == 0))] for i in range(count)
    }
