"""Correspondence between the points of two schemes: a table of indices, from the schemes' `same`."""

from __future__ import annotations

import numpy as np

from kd_loss.schemes.landmarks import LandmarkScheme


def same_points(source: LandmarkScheme, target: LandmarkScheme) -> np.ndarray:
    """For each point of the target the index of the same point in the source, −1 if it has none.

    Uses the source's `same`, or the inverse of the target's; schemes of half a face match no others.

    Returns:
        (K,) for K target points; all are matched if the target's points are a subset of the source's.

    >>> from kd_loss.schemes.benchmarks import COFW, W300, WFLW
    >>> same_points(WFLW, W300)[[0, 8, 16, 36, 45]].tolist()     # chin 16, outer corners of the eyes 60, 72
    [0, 16, 32, 60, 72]
    >>> (same_points(W300, WFLW) >= 0).sum().item(), (same_points(W300, COFW) >= 0).sum().item()
    (68, 21)
    """
    table = np.full(target.points, -1)
    if source.name == target.name:
        return np.arange(target.points)
    if source.half or target.half:
        return table
    if target.name in source.same:
        for own, index in enumerate(source.same[target.name]):
            if index is not None and index < target.points:
                table[index] = own
    elif source.name in target.same:
        for own, index in enumerate(target.same[source.name]):
            if index is not None and index < source.points:
                table[own] = index
    return table
