"""Openings of eyes and mouth, and a network's error in them.

An opening is the mean distance of pairs of points on the upper and the lower edge, in % of the normalising distance;
each eye counts separately. NME hardly reflects it: with all other points right, predicting a shut eye as open costs
a tenth of a point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pairs = tuple[tuple[int, int], ...]

Regions = dict[str, tuple[Pairs, ...]]

_W300: Regions = {
    "eyes": (((37, 41), (38, 40)), ((43, 47), (44, 46))),
    "mouth": (((61, 67), (62, 66), (63, 65)),),
}
_COFW: Regions = {"eyes": (((12, 13),), ((14, 15),)), "mouth": (((25, 26),),)}
_WFLW: Regions = {
    "eyes": (((61, 67), (62, 66), (63, 65)), ((69, 75), (70, 74), (71, 73))),
    "mouth": (((89, 95), (90, 94), (91, 93)),),
}
#: scheme -> region -> openings of it, each as pairs of an upper and a lower point
OPENINGS: dict[str, Regions] = {
    **{"w300": _W300, "cofw": _COFW, "wflw": _WFLW},
    **{"synthetic": _W300, "synthetic_cofw": _COFW, "synthetic_wflw": _WFLW},
}


@dataclass(frozen=True)
class Opening:
    """A region with N annotated openings; all values except the correlation in % of the normalising distance.

    Attributes:
        true: mean of the annotated openings.
        error: mean absolute difference between the predicted and the annotated opening.
        bias: mean difference; above 0: predicted too far open.
        correlation: Spearman's rank correlation of predicted and annotated openings.
    """

    count: int
    true: float
    error: float
    bias: float
    correlation: float


def openings(landmarks: ArrayLike, distance: ArrayLike, pairs: tuple[Pairs, ...]) -> NDArray[np.float64]:
    """Compute openings (N, E) of faces (N, K, 2) in % of distances (N,); NaN if a point is unknown."""
    points = np.asarray(landmarks, np.float64)
    apart = [
        np.mean([np.linalg.norm(points[:, up] - points[:, down], axis=-1) for up, down in opening], axis=0)
        for opening in pairs
    ]
    return 100 * np.stack(apart, axis=1) / np.asarray(distance, np.float64)[:, None]


def opening_errors(predicted: ArrayLike, truth: ArrayLike, distance: ArrayLike, scheme: str) -> dict[str, Opening]:
    """Region -> error of its openings, from points (N, K, 2) and distances (N,); empty for an unknown scheme."""
    from kd_loss.evaluation.prediction import rank_correlation

    found = {}
    for region, pairs in OPENINGS.get(scheme, {}).items():
        estimated, true = (openings(points, distance, pairs).reshape(-1) for points in (predicted, truth))
        known = ~np.isnan(estimated - true)
        if not known.any():
            continue
        estimated, true = estimated[known], true[known]
        found[region] = Opening(
            count=len(estimated),
            true=float(true.mean()),
            error=float(np.abs(estimated - true).mean()),
            bias=float((estimated - true).mean()),
            correlation=rank_correlation(estimated, true),
        )
    return found
