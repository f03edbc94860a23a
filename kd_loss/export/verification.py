"""Compares an export with its source network on the same faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.evaluation.prediction import check_fit
from kd_loss.evaluation.result import mean_error
from kd_loss.networks.card import Card
from kd_loss.schemes.base import Scheme
from kd_loss.synthetic.faces import draw_face


@dataclass(frozen=True)
class Faces:
    """Crops (N, S, S, 3) uint8 for the comparison, and their split, None for drawn ones."""

    crops: np.ndarray
    split: PreparedSplit | None

    def error(self, predicted: np.ndarray) -> float | None:
        """The mean error of targets (N, …) as in `test`: NME in %, or for poses the angle in degrees."""
        if self.split is None:
            return None
        return mean_error(self.split, predicted)


def difference(scheme: Scheme, reference: np.ndarray, other: np.ndarray, size: int) -> tuple[float, float]:
    """Largest and mean difference of targets (N, …): landmarks in pixels of an input of `size`, poses in degrees."""
    distance = scheme.apart(reference, other, size)
    return float(distance.max()), float(distance.mean())


def crops_of(split: PreparedSplit, size: int, indices: np.ndarray) -> np.ndarray:
    """Crops (N, size, size, 3) of the named faces, as input of a network of that size."""
    loader = FaceLoader(FaceSampler(split, indices), CropTransform(size), batch_size=64, workers=1)
    return np.concatenate([loader[i][0] for i in range(len(loader))])


def test_faces(card: Card, dataset: PreparedDataset | None) -> Faces:
    """The test faces of a dataset, or 32 drawn ones without a dataset."""
    if dataset is None:
        return Faces(np.stack([draw_face(card.size, 0, i) for i in range(32)]), None)
    check_fit(card, dataset, Path("the network"))
    split = dataset.split("test")
    return Faces(crops_of(split, card.size, np.arange(len(split))), split)


def calibration_crops(card: Card, dataset: PreparedDataset, count: int) -> np.ndarray:
    """`count` training crops, spread evenly over the split."""
    split = dataset.split("train")
    chosen = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
    return crops_of(split, card.size, chosen)
