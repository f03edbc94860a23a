"""Faces of AFLW, turned by up to 90 degrees and more, as images that a finder learns from.

AFLW's 21 points leave out what cannot be seen, so that their box is that of a face only where ears, brows and chin are
annotated. The others' points follow from the mean shape of faces turned alike.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from kd_loss.archives.aflw import read_yaws
from kd_loss.detection.base import shrink
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import read_image
from kd_loss.schemes.benchmarks import AFLW21
from kd_loss.system.errors import UserError
from tools.finder.faces import KEPT, FacePicture, box_row, rescale

#: mirror partners of the 21 points
MIRROR = AFLW21.flip_index
#: degrees of yaw of one mean shape; a point belongs to a shape if so many of its faces have it
BIN, SEEN = 15.0, 0.35
#: eyes, nose tip, corners of the mouth
FIVE = [7, 10, 14, 17, 19]


def read_turned(source: Path) -> list[FacePicture]:
    """Images of a folder of AFLW (`landmarks.csv`, `yaw.csv`), grouped by file; faces without a box are left out."""
    table = source / "landmarks.csv"
    if not table.is_file():
        raise UserError(f"no {table}; give the folder of AFLW with its table of 21 points")
    yaws = read_yaws(source / "yaw.csv")
    lines = [row for row in csv.reader(table.read_text().splitlines()) if row and row[0] in yaws]
    points = np.array([[float(cell) if cell else np.nan for cell in row[1:43]] for row in lines]).reshape(-1, 21, 2)
    shapes = mean_shapes(points, np.array([yaws[row[0]] for row in lines]))
    pictures = []
    for row, face in zip(lines, points, strict=True):
        whole = completed(face, shapes[_bin(yaws[row[0]])])
        if whole is None:
            continue
        small, scale = shrink(read_image(source / row[0]), KEPT)
        faces = rescale(box_row(whole, face[FIVE])[None], scale)
        pictures.append(FacePicture(small, faces, np.zeros((0, 3)), row[0], yaw=abs(yaws[row[0]])))
    return pictures


def _bin(yaw: float) -> int:
    return int(np.clip(np.floor(yaw / BIN + 0.5), -6, 6))


def mean_shapes(points: np.ndarray, yaws: np.ndarray) -> dict[int, np.ndarray]:
    """Mean shapes (21, 2) by bin of yaw, NaN for points that faces turned so do not show; mirrored faces count too."""
    both = np.concatenate([points, points[:, MIRROR] * [-1, 1]])
    turns = np.array([_bin(yaw) for yaw in np.concatenate([yaws, -yaws])])
    shapes = {}
    for number in np.unique(turns):
        faces = both[turns == number]
        shown = np.isfinite(faces[..., 0])
        keep = shown.mean(axis=0) >= SEEN
        shape = np.nanmean(faces - np.nanmean(faces, axis=1, keepdims=True), axis=0)
        for _ in range(5):
            moved = [_moved(face, shape, face) for face in faces]
            shape = np.nanmean([face for face in moved if face is not None], axis=0)
            shape = shape - np.nanmean(shape, axis=0)
        shape[~keep] = np.nan
        shapes[int(number)] = shape
    return shapes


def completed(face: np.ndarray, shape: np.ndarray) -> np.ndarray | None:
    """A face's points (21, 2) and, where it has none, those of the mean shape laid upon it; None for too few."""
    laid = _moved(shape, face, shape)
    if laid is None:
        return None
    return np.where(np.isfinite(face), face, laid)


def _moved(source: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """`points` under the similarity that lays `source` upon `target` where both have points."""
    both = np.isfinite(source[:, 0]) & np.isfinite(target[:, 0])
    if both.sum() < 4:
        return None
    return geometry.apply(geometry.fit_similarity(source[both], target[both]), points)
