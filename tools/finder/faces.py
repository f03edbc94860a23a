"""Images that a finder learns from: their faces, and what might be one.

A face is a row `(x, y, side)` of its square landmark box, the centre and the longer side in pixels, followed by five
points (eyes, nose tip, mouth corners; the left one of the image first), NaN where they are not known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from kd_loss.archives.sample import Sample
from kd_loss.detection.base import Detection, Detector, overlaps, shrink
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.system.errors import UserError

#: numbers of a face
WIDTH = 13
#: longer side of an image that is kept in memory
KEPT = 320
#: scores from which what all detectors see is a face, and from which what one sees may be one
SURE, UNSURE = 0.75, 0.65


@dataclass
class FacePicture:
    """An image in memory.

    Attributes:
        image: (H, W, 3) uint8 RGB, at most `KEPT` pixels on its longer side; half and quarter of it follow.
        faces: (N, 13), see the module's text.
        unsure: (M, 3), `(x, y, side)` of what may be a face.
        group: what must not be on both sides of a split, a photograph or a person.
        yaw: degrees by which its first face is turned to either side, NaN where that is not known.
    """

    image: np.ndarray
    faces: np.ndarray
    unsure: np.ndarray
    group: str
    yaw: float = float("nan")
    halves: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.halves = [self.image]
        while max(self.halves[-1].shape[:2]) >= 40 and min(self.halves[-1].shape[:2]) >= 4 and len(self.halves) < 4:
            last = self.halves[-1]
            even = last[: last.shape[0] // 2 * 2, : last.shape[1] // 2 * 2]
            self.halves.append(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def face_of_68(landmarks: np.ndarray) -> np.ndarray:
    """The row (13,) of a face with the 68 landmarks of 300W (68, 2)."""
    five = [landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]]
    return np.concatenate([_square(landmarks), np.ravel(five)])


def face_of_98(landmarks: np.ndarray) -> np.ndarray:
    """The row (13,) of a face with the 98 landmarks of WFLW (98, 2)."""
    return box_row(landmarks, landmarks[[96, 97, 54, 76, 82]])


def box_row(points: np.ndarray, five: np.ndarray) -> np.ndarray:
    """The row (13,) of a face with points (K, 2) all around and eyes, nose tip, mouth corners (5, 2); NaN: unknown."""
    return np.concatenate([_square(points[np.isfinite(points).all(axis=1)]), np.ravel(five)])


def face_of_30(landmarks: np.ndarray, frontal: bool) -> np.ndarray:
    """The row (13,) of a face of CFP, whose 30 landmarks (30, 2) lie on the half that is seen.

    The other half of a frontal face is the mirror image across the line of nose and chin.
    """
    eye, nose, corner = landmarks[12:18].mean(0), landmarks[21], landmarks[25]
    five = np.full((5, 2), np.nan)
    left = eye[0] < nose[0]
    five[[0 if left else 1, 2, 3 if left else 4]] = eye, nose, corner
    if not frontal:
        return np.concatenate([_square(landmarks), five.reshape(-1)])
    line = landmarks[[18, 19, 20, 21, 8]]
    middle = line.mean(0)
    direction = np.linalg.svd(line - middle)[2][0]
    reflection = 2 * np.outer(direction, direction) - np.eye(2)
    mirrored = (np.concatenate([landmarks, [eye, corner]]) - middle) @ reflection + middle
    five[[1, 4] if left else [0, 3]] = mirrored[30:]
    return np.concatenate([_square(np.concatenate([landmarks, mirrored[:30]])), five.reshape(-1)])


def _square(points: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = geometry.landmark_box(points)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)])


def rescale(rows: np.ndarray, scale: float) -> np.ndarray:
    """Faces of an image in the pixels of the image resized by `scale`."""
    moved = np.array(rows, np.float64)
    if moved.size:
        places = [0, 1, *range(3, moved.shape[1])]
        moved[:, places] = (moved[:, places] + 0.5) * scale - 0.5
        moved[:, 2] *= scale
    return moved


def _from_box(face: Detection) -> np.ndarray:
    x, y, width, height = face.box
    return np.array([x + width / 2, y + height / 2, width])


def label(
    image: np.ndarray, known: np.ndarray, detectors: Sequence[Detector], tiles: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Faces (N, 13) and what may be faces (M, 3) of an image, of which `known` (K, 13) are annotated.

    Args:
        detectors: each says what it finds; what one is sure of, and every other one sees too, is a face.
        tiles: look at the quarters of the image too, where small faces are large enough for them.
    """
    answers = [_search(image, detector, tiles) for detector in detectors]
    faces: list[np.ndarray] = list(known)
    unsure: list[np.ndarray] = []
    rows = [(one, row, score) for one, found in enumerate(answers) for row, score in found]
    for one, row, score in sorted(rows, key=lambda entry: -entry[2]):
        if any(_same(row, face) for face in [*faces, *unsure]):
            continue
        others = (any(_same(row, other) for other, _ in found) for k, found in enumerate(answers) if k != one)
        agreed = all(others)
        if score >= SURE and agreed:
            faces.append(np.concatenate([row, np.full(10, np.nan)]))
        elif score >= UNSURE or agreed:
            unsure.append(row)
    return np.array(faces).reshape(-1, WIDTH), np.array(unsure).reshape(-1, 3)


def _search(image: np.ndarray, detector: Detector, tiles: bool) -> list[tuple[np.ndarray, float]]:
    found = [(_from_box(face), face.score) for face in detector(image)]
    if tiles:
        height, width = (int(0.6 * n) for n in image.shape[:2])
        for y in (0, image.shape[0] - height):
            for x in (0, image.shape[1] - width):
                for face in detector(np.ascontiguousarray(image[y : y + height, x : x + width])):
                    found.append((_from_box(face) + [x, y, 0], face.score))
    return found


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    a, b = (np.array([row[0] - row[2] / 2, row[1] - row[2] / 2, row[2], row[2]]) for row in (first, second))
    return bool(overlaps(a, b[None])[0] > 0.3)


def of_sample(sample: Sample, detectors: Sequence[Detector]) -> FacePicture:
    """An annotated face of 68 landmarks with its image; other faces in it are those that detectors see."""
    image = sample.load()
    known = (face_of_98 if len(sample.landmarks) == 98 else face_of_68)(sample.landmarks)[None]
    small, scale = shrink(image, KEPT)
    faces, unsure = label(small, rescale(known, scale), detectors, tiles=False)
    return FacePicture(small, faces, unsure, sample.group)


def read_cfp(source: Path) -> list[FacePicture]:
    """Images of CFP (Celebrities in Frontal-Profile), by person: `landmarks.csv` with 30 points a row."""
    table = source / "landmarks.csv"
    if not table.is_file():
        raise UserError(f"no {table}; give the folder of CFP with its table of landmarks")
    pictures = []
    for row in csv.reader(table.read_text().splitlines()):
        place = Path(row[0])
        points = np.array([float(cell) for cell in row[1:]]).reshape(30, 2)
        image = read_image(source / place)
        face = face_of_30(points, "frontal" in place.parts)
        small, scale = shrink(image, KEPT)
        yaw = 0.0 if "frontal" in place.parts else 90.0
        pictures.append(FacePicture(small, rescale(face[None], scale), np.zeros((0, 3)), place.parts[-3], yaw))
    return pictures


def read_unlabelled(folder: Path, detectors: Sequence[Detector]) -> list[FacePicture]:
    """Photographs of which nobody says where the face is; those in which the detectors agree on none have no `faces`.

    A detector looks at the image and at the image with a black margin, because a face that fills it is too large
    for some.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"no image in {folder}")
    pictures = []
    for path in paths:
        small, _ = shrink(read_image(path), KEPT)
        views = [detector for one in detectors for detector in (one, _with_margin(one))]
        faces, unsure = label(small, np.zeros((0, WIDTH)), views, tiles=False)
        order = np.argsort(-faces[:, 2])
        pictures.append(FacePicture(small, faces[order], unsure, path.stem))
    return pictures


def _with_margin(detector: Detector) -> Detector:
    """A detector that sees an image with a black margin of a third of it on every side."""

    def detect(image: np.ndarray) -> list[Detection]:
        edge = max(image.shape[:2]) // 3
        wide = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT)
        return [
            Detection((face.box[0] - edge, face.box[1] - edge, face.box[2], face.box[3]), face.score)
            for face in detector(wide)
        ]

    return detect


def read_backgrounds(
    folder: Path, detectors: Sequence[Detector], progress: Callable[[list[Path], int], Iterable[Path]]
) -> list[FacePicture]:
    """Photographs of anything; the faces in them are those that the detectors see."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"no image in {folder}")
    pictures = []
    for path in progress(paths, len(paths)):
        try:
            small, _ = shrink(read_image(path), 480)
        except BadSample as error:
            raise UserError(f"{path} {error}") from None
        pictures.append(FacePicture(small, *label(small, np.zeros((0, WIDTH)), detectors, tiles=True), path.stem))
    return pictures
