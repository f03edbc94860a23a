"""Images of tested faces: the worst ones, a fair sample, hard against soft landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.evaluation.result import Result
from kd_loss.imaging import geometry
from kd_loss.schemes.drawing import OTHER, PREDICTED, TRUTH, draw_landmarks, enlarge, label, sheet
from kd_loss.schemes.landmarks import LandmarkScheme

SIDE = 220


def _face(split: PreparedSplit, index: int, layers: Sequence[tuple[np.ndarray, tuple[int, int, int]]]) -> np.ndarray:
    """Draw layers of normalised landmarks on one crop."""
    picture, _ = enlarge(split.crop(index), np.zeros((1, 2)), SIDE)
    assert isinstance(split.scheme, LandmarkScheme)
    for points, colour in layers:
        picture = draw_landmarks(picture, geometry.denormalise(points, SIDE), split.scheme, colour, radius=1.6)
    return picture


def result_sheet(result: Result, indices: Sequence[int], columns: int = 5) -> np.ndarray:
    """Draw truth (green) and prediction (red) of the given faces, with their NME."""
    split = result.split
    pictures = []
    for index in indices:
        picture = _face(split, index, [(split.landmarks[index], TRUTH), (result.normalised[index], PREDICTED)])
        name = str(split.name[index]).rsplit("/", 1)[-1]
        pictures.append(label(picture, f"{result.nme[index]:.1f} %  {name[-19:]}"))
    return sheet(pictures, columns)


def soft_sheet(split: PreparedSplit, count: int = 10, columns: int = 5) -> np.ndarray:
    """Draw hard (green) and soft (blue) landmarks of faces spread evenly over a split."""
    indices = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
    pictures = [_face(split, i, [(split.landmarks[i], TRUTH), (split.soft[i], OTHER)]) for i in indices]
    return sheet(pictures, min(columns, len(pictures)))
