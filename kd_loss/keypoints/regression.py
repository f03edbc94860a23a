"""Measures unsupervised keypoints: a linear map predicts the landmarks of annotated faces from them.

The usual test of unsupervised landmarks (Thewlis et al., ICCV 2017): ridge regression from the K keypoints to the
annotated points, fitted on training faces, evaluated on test faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.evaluation.metrics import bootstrap_interval, normalising_distance, point_errors
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.point_map import fit_point_map
from kd_loss.schemes.registry import landmark_scheme
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class Faces:
    """Crops (N, S, S, 3) uint8 and their landmarks (N, P, 2), −0.5…0.5 across the crop, all annotated."""

    images: np.ndarray
    landmarks: np.ndarray


def wide_faces(split: PreparedSplit, size: int, context: float, jitter: float, seed: int) -> Faces:
    """The fully annotated faces of a split, in crops `context` times as wide as the prepared ones.

    Args:
        split: the prepared faces; faces with unannotated points are omitted.
        size: side of the returned images in pixels.
        context: width of a crop in units of the prepared crop, at least 1.
        jitter: each crop is shifted by up to this share of its side on each axis: a prepared crop is centred on the
            landmarks, which reveals their position.
        seed: seed of the shifts.
    """
    known = np.flatnonzero(np.isfinite(split.landmarks).all(axis=(1, 2)))
    if not len(known):
        raise UserError(f"{split.folder} has no face with all of its landmarks")
    side = split.size * context
    room = split.size / 2 + split.border
    if side / 2 + jitter * side > room + 0.5:
        most = 2 * room / split.size / (1 + 2 * jitter)
        raise UserError(
            f"{split.folder} has {split.border} px around its crops of {split.size}: --context {context:g} with "
            f"--jitter {jitter:g} needs more; give --context {most:.2f} at most"
        )
    shifts = np.random.default_rng(seed).uniform(-jitter, jitter, (len(known), 2)) * side
    images = np.empty((len(known), size, size, 3), np.uint8)
    for row, (index, shift) in enumerate(zip(known, shifts, strict=True)):
        middle = room + np.round(shift)
        low = np.maximum(np.round(middle - side / 2), 0).astype(int)
        part = np.ascontiguousarray(split.images[index, low[1] : low[1] + round(side), low[0] : low[0] + round(side)])
        images[row] = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
    landmarks = (split.landmarks[known] * split.size - np.round(shifts)[:, None]) / side
    return Faces(images, landmarks.astype(np.float32))


def split_scheme(scheme: Scheme) -> LandmarkScheme:
    """The scheme of a landmark dataset; raises a `UserError` for another kind."""
    return landmark_scheme(scheme, f"landmarks are read from keypoints; {scheme.name} is a dataset of a {scheme.noun}")


def judge(predicted: np.ndarray, split: PreparedSplit, faces: Faces) -> dict[str, float]:
    """NME in % of the scheme's distance and its 95 % interval over the faces."""
    scheme = split_scheme(split.scheme)
    errors = point_errors(
        predicted, faces.landmarks, normalising_distance(faces.landmarks, scheme, scheme.default_normaliser)
    )
    nme = errors.mean(axis=1)
    low, high = bootstrap_interval(nme)
    return {"nme": float(nme.mean()), "low": low, "high": high}


def regress(
    found: np.ndarray, train: Faces, found_in_test: np.ndarray, test: Faces, split: PreparedSplit
) -> dict[str, float]:
    """`judge` for the landmarks that a ridge predicts from keypoints (N, K, 2); it is fitted on the training faces."""
    return judge(fit_point_map(found, train.landmarks)(found_in_test), split, test)
