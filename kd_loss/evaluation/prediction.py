"""A network on the faces of a prepared dataset."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks.card import Card
from kd_loss.runtimes.crop_network import CropNetwork, Seen
from kd_loss.system.errors import UserError

log = logging.getLogger(__name__)


def check_fit(card: Card, dataset: PreparedDataset, where: Path, any_points: bool = False) -> None:
    """Raise for weights trained for another scheme (unless `any_points` or convertible) or another crop."""
    margin = dataset.manifest["crop"]["margin"]
    own, trained = dataset.scheme, card.scheme()
    if own.shape != trained.shape and not any_points:
        points = own.shape[1] == trained.shape[1] == 2
        finds, has = (trained.shape[0], own.shape[0]) if points else (trained.noun, own.noun)
        raise UserError(
            f"{where} predicts {finds}{' points' if points else ''} ({card.dataset}), the dataset {own.name} has {has}"
        )
    if card.dataset != dataset.folder.name:
        log.warning(f"{where} was trained on {card.dataset}, not on {dataset.folder.name}")
    if abs(card.margin - margin) > 1e-6:
        raise UserError(
            f"{where} was trained on crops with a margin of {card.margin:g}, these have {margin:g}; "
            f"run kd-loss prepare with --margin {card.margin:g}"
        )


def predict_split(network: CropNetwork, split: PreparedSplit, batch_size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Predict targets (N, …) of all faces in the card's scheme, and the spread of heatmaps (N, K) or None."""
    return see_split(network, split, batch_size)[:2]


def see_split(network: CropNetwork, split: PreparedSplit, batch_size: int) -> Seen:
    """Like `predict_split`, with the visibility (N, K) of the landmarks, None for a network without."""
    loader = FaceLoader(FaceSampler(split), CropTransform(network.card.size), batch_size=batch_size, workers=1)
    landmarks, *more = zip(*(network.predict_all(loader[i][0]) for i in range(len(loader))), strict=True)
    spread, visible = (None if values[0] is None else np.concatenate(values) for values in more)
    return np.concatenate(landmarks), spread, visible


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation of two sets of values, equal ones with their mean rank.

    Pairs with a NaN are ignored; 0 for fewer than 3 pairs, or if all values of a set are equal.

    >>> round(rank_correlation([1, 2, 3, 10], [1, 2, 4, 8]), 6)
    1.0
    >>> round(rank_correlation([1, 1, 2, 2], [1, 2, 3, 4]), 4)  # ranks 1.5, 1.5, 3.5, 3.5
    0.8944
    """
    from scipy import stats

    a, b = np.asarray(first, np.float64).reshape(-1), np.asarray(second, np.float64).reshape(-1)
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def spread_correlation(network: CropNetwork, loader: FaceLoader) -> float:
    """Compute the rank correlation of heatmap width and error over all landmarks of a loader's faces."""
    errors, spreads = [], []
    for batch in range(len(loader)):
        images, targets = loader[batch]
        landmarks, spread = network.predict_with_spread(images)
        errors.append(np.linalg.norm(landmarks - targets["landmarks"], axis=-1))
        spreads.append(np.zeros(errors[-1].shape) if spread is None else spread)
    return rank_correlation(np.concatenate(spreads), np.concatenate(errors))
