"""Records which faces a network was trained on, by annotation, so that none of them later counts as a test face.

A face is recognised by six numbers of its landmarks' shape, whatever its file name and crop size; a head pose
by its rotation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.files import atomic_file

#: in the folder of a run: the prints (N, P) of its training faces, also those held out
TRAINED_ON = "training_faces.npy"
#: two prints of one face differ by less, those of two faces by more: each number spans a range of at least 0.05
TOLERANCE = 2e-4
#: test faces compared at a time
_CHUNK = 128


def face_prints(split: PreparedSplit) -> np.ndarray:
    """Compute float32 prints (N, P) that identify faces, from landmarks normalised to their own box or a rotation.

    Mean, standard deviation and two mixed moments of the annotated points; NaN where fewer than three are, and of
    poses of which the yaw alone is known.
    """
    targets = np.asarray(split.landmarks, np.float64)
    if isinstance(split.scheme, PoseScheme):
        return split.scheme.raw(targets)[:, 0].astype(np.float32)
    if targets.shape[-1] != 2:
        return np.full((len(targets), 1), np.nan, np.float32)
    known = np.asarray(~np.isnan(targets).any(axis=-1, keepdims=True))
    count = np.maximum(known.sum(axis=1), 1)
    low = np.where(known, targets, np.inf).min(axis=1, keepdims=True)
    high = np.where(known, targets, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = np.where(known, (targets - (low + high) / 2) / (high - low).max(axis=-1, keepdims=True), 0)
    mean = shape.sum(axis=1) / count
    apart = np.where(known, shape - mean[:, None], 0)
    deviation = np.sqrt(np.square(apart).sum(axis=1) / count)
    x, y = np.moveaxis(apart, -1, 0)
    mixed = np.stack([(x * y).sum(axis=1), (x * np.abs(y)).sum(axis=1)], axis=-1) / count
    prints = np.concatenate([mean, deviation, mixed], axis=-1)
    prints[known[..., 0].sum(axis=1) < 3] = np.nan
    return prints.astype(np.float32)


def write_prints(split: PreparedSplit, run: Path) -> None:
    """Save the prints of a split's faces in the folder of the run that trains on them."""
    with atomic_file(run / TRAINED_ON, ".npy") as temporary:
        np.save(temporary, face_prints(split))


def read_prints(weights: Path) -> np.ndarray | None:
    """Load the prints of the faces that a weights file was trained on, from its run; None if unknown."""
    for folder in (weights.parent, weights.parent.parent):  # exports lie in a folder of the run
        file = folder / TRAINED_ON
        if file.is_file():
            try:
                prints = np.load(file, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                return None
            sound = isinstance(prints, np.ndarray) and prints.ndim == 2 and prints.dtype == np.float32
            return prints if sound else None
    return None


def seen_before(trained_on: np.ndarray, split: PreparedSplit) -> np.ndarray:
    """Return the indices of a split's faces that match one of the prints (M, P)."""
    prints = face_prints(split)
    if trained_on.shape[1] != prints.shape[1] or not len(trained_on):
        return np.arange(0)
    seen = np.zeros(len(prints), bool)
    for start in range(0, len(prints), _CHUNK):
        chunk = prints[start : start + _CHUNK]
        same = np.ones((len(chunk), len(trained_on)), bool)
        for column in range(prints.shape[1]):  # NaN equals nothing
            same &= np.abs(chunk[:, None, column] - trained_on[None, :, column]) < TOLERANCE
        seen[start : start + _CHUNK] = same.any(axis=1)
    return np.flatnonzero(seen)
