"""The normalised mean error of landmarks, for NumPy arrays and Keras tensors.

NME = 100 · 1/K Σ ‖p_k − y_k‖ / d in %, over the K annotated points of a face; d is its normalising distance. A
point that is not annotated is NaN in the truth and is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np


def length(vectors: Any, ops: ModuleType = np) -> Any:
    """Euclidean lengths (…,) of vectors (…, D); `ops` is `numpy` or `keras.ops`."""
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1))


def box_extent(truth: Any, ops: ModuleType = np) -> Any:
    """Width and height (N, 2) of the box of the annotated points of (N, K, 2); NaN where there is none."""
    seen = ops.isfinite(truth)
    extent = ops.max(ops.where(seen, truth, -np.inf), axis=1) - ops.min(ops.where(seen, truth, np.inf), axis=1)
    return ops.where(ops.any(seen, axis=1), extent, np.nan)


def distance_between(truth: Any, groups: Sequence[Sequence[int]], ops: ModuleType = np) -> Any:
    """The distance (N,) between the means of two groups of points of (N, K, 2); NaN where one is not annotated.

    >>> face = np.array([[[0.0, 0.0], [0.0, 2.0], [3.0, 1.0]]])
    >>> distance_between(face, ((0, 1), (2,))).tolist()
    [3.0]
    """
    first, second = (ops.mean(ops.take(truth, np.asarray(group), axis=1), axis=1) for group in groups)
    return length(first - second, ops)


def point_errors(predicted: Any, truth: Any, distance: Any, ops: ModuleType = np) -> Any:
    """Errors (N, K) in % of the distances (N,), from points (N, K, 2); NaN where a point is not annotated."""
    return 100 * length(predicted - truth, ops) / distance[:, None]


def face_means(errors: Any, ops: ModuleType = np) -> Any:
    """NME (N,): the mean of each face's known errors (N, K); NaN for a face without any."""
    known = ops.logical_not(ops.isnan(errors))
    count = ops.sum(ops.where(known, 1.0, 0.0), axis=1)
    total = ops.sum(ops.where(known, errors, 0.0), axis=1)
    return ops.where(count > 0, total / ops.maximum(count, 1), np.nan)
