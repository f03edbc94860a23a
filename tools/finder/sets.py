"""Images that detectors are compared on: who is in them, by yaw, by size, in the dark."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kd_loss.archives.sample import Sample
from kd_loss.detection import Detection, Detector
from kd_loss.imaging.pictures import read_image
from tools.finder.faces import FacePicture, face_of_68
from tools.finder.measure import matches

#: sides of faces in pixels, of an image of `CANVAS` pixels
SIZES = (16, 24, 32, 48, 64, 96, 160)
CANVAS = 640
#: degrees of yaw at which a row ends
YAWS = (30, 60, 180)


@dataclass(frozen=True)
class Shot:
    """An image (H, W, 3) uint8 RGB on demand, and its faces (N, 3 or more): centre and side in pixels."""

    load: Callable[[], np.ndarray]
    faces: np.ndarray


def of_samples(samples: Sequence[Sample]) -> list[Shot]:
    """Annotated faces with 68 points, one an image."""
    return [Shot(sample.load, face_of_68(sample.landmarks)[None, :3]) for sample in samples]


def of_pictures(pictures: Sequence[FacePicture]) -> list[Shot]:
    """Images in memory, of which the first face counts."""
    return [Shot(lambda image=picture.image: image, picture.faces[:1, :3]) for picture in pictures]  # type: ignore[misc]


def by_yaw(pictures: Sequence[FacePicture]) -> Iterator[tuple[str, list[Shot]]]:
    """Images by how far the face is turned to either side."""
    low = 0
    for high in YAWS:
        part = [picture for picture in pictures if low <= picture.yaw < high]
        yield (f"{low}–{high}°" if high < YAWS[-1] else f"over {low}°"), of_pictures(part)
        low = high


def by_size(shots: Sequence[Shot]) -> Iterator[tuple[str, list[Shot]]]:
    """Each image with its face made as small as `SIZES`, in the middle of a grey square of `CANVAS` pixels."""
    for side in SIZES:
        yield f"{side} px", [_shrunk(shot, side) for shot in shots]


def _shrunk(shot: Shot, side: int) -> Shot:
    scale = side / float(shot.faces[0, 2])

    def load() -> np.ndarray:
        image = shot.load()
        size = [max(1, round(scale * n)) for n in image.shape[1::-1]]
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        small = small[:CANVAS, :CANVAS]
        canvas = np.full((CANVAS, CANVAS, 3), 128, np.uint8)
        top, left = ((CANVAS - n) // 2 for n in small.shape[:2])
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
        return canvas

    height, width = (min(CANVAS, max(1, round(scale * n))) for n in shot.load().shape[:2])
    row = np.concatenate([(shot.faces[0, :2] + 0.5) * scale - 0.5, [side]])
    row[:2] += [(CANVAS - width) // 2, (CANVAS - height) // 2]
    return Shot(load, row[None])


def copies(shots: Sequence[Shot]) -> Iterator[tuple[str, list[Shot]]]:
    """The images as an under- or over-exposed photograph has them."""
    for name, gain, power in (("dark, × 0.3", 0.3, 1.0), ("dark, γ 3", 1.0, 3.0), ("over-exposed, × 2.5", 2.5, 1.0)):
        table = np.clip(255 * gain * (np.arange(256) / 255) ** power, 0, 255).astype(np.uint8)
        changed = [
            Shot(lambda shot=shot, table=table: table[shot.load()], shot.faces)  # type: ignore[misc]
            for shot in shots
        ]
        yield name, changed


def groups(folder: Path) -> list[Shot]:
    """Photographs with several faces, from the `.xml` lists of boxes (dlib's format) of a folder."""
    boxes: dict[str, list[list[float]]] = {}
    for path in sorted(folder.glob("*.xml")):
        for picture in ElementTree.parse(path).getroot().iter("image"):
            if picture.get("file") not in boxes:
                numbers = [[float(box.get(key, 0)) for key in ("left", "top", "width")] for box in picture.iter("box")]
                boxes[picture.get("file", "")] = [[x + side / 2, y + side / 2, side] for x, y, side in numbers]
    return [
        Shot(lambda path=folder / name: read_image(path), np.array(rows))  # type: ignore[misc]
        for name, rows in sorted(boxes.items())
    ]


def about(face: Detection, row: np.ndarray) -> bool:
    """Whether a box is that of a face of a group: its centre in the annotated box, 0.4 to 2.2 times as wide."""
    x, y, width, height = face.box
    away = max(abs(x + width / 2 - row[0]), abs(y + height / 2 - row[1]))
    return bool(away < row[2] / 2 and 0.4 < width / row[2] < 2.2)


def count(
    detector: Detector, shots: Sequence[Shot], same: Callable[[Detection, np.ndarray], bool] = matches
) -> tuple[int, int, int]:
    """Faces found, faces, and boxes elsewhere."""
    found = faces = elsewhere = 0
    for shot in shots:
        answers = detector(shot.load())
        found += sum(any(same(face, row) for face in answers) for row in shot.faces)
        faces += len(shot.faces)
        elsewhere += sum(not any(same(face, row) for row in shot.faces) for face in answers)
    return found, faces, elsewhere
