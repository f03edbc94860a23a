"""Metrics of landmark localisation, in plain NumPy.

NME is the mean distance between predicted and true points over a normalising distance, in %. The
failure rate FR@t is the share of faces with NME above t; the cumulative error distribution (CED) is the
share at or below; AUC@t is the area under the CED up to t, divided by t, here computed exactly.

A point that is not annotated is NaN in the truth: its error is NaN and excluded from every mean. A
face whose normalising distance is not annotated has no NME (NaN) and is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kd_loss.schemes import nme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.deprecation import RenamedAttribute
from kd_loss.system.errors import UserError, choose

Array = NDArray[np.float64]
#: normalising distances that every scheme has
BOXES = ("box", "box_side")


def normalising_distance(landmarks: ArrayLike, scheme: LandmarkScheme, normaliser: str) -> Array:
    """Compute the distance (N,) that divides the errors of faces (N, K, 2).

    `normaliser` is one of the scheme's (`inter_ocular`: outer eye corners, `inter_pupil`), or one of `BOXES`: `box`,
    √(width · height) of the landmark box, as in the tables of AFLW2000-3D; `box_side`, its longer side, as in
    mmpose's `bbox_size` (which uses the box that comes with the dataset). Raises `UserError` if the distance of a
    face is 0.
    """
    truth = np.asarray(landmarks, np.float64)
    if choose(normaliser, [*scheme.normalisers, *BOXES], "normaliser") in BOXES:
        extent = nme.box_extent(truth)
        distance = np.sqrt(extent[:, 0] * extent[:, 1]) if normaliser == "box" else extent.max(axis=1)
    else:
        distance = nme.distance_between(truth, scheme.normalisers[normaliser])
    if (distance <= 0).any():
        raise UserError(f"face {int(np.argmin(distance))} has a normalising distance ({normaliser}) of 0")
    return distance


def point_errors(predicted: ArrayLike, truth: ArrayLike, distance: ArrayLike) -> Array:
    """Compute errors (N, K) in % of the normalising distance, from points (N, K, 2) and distances (N,)."""
    points, annotated, by = (np.asarray(values, np.float64) for values in (predicted, truth, distance))
    return nme.point_errors(points, annotated, by)


def failure_rate(nme: ArrayLike, threshold: float) -> float:
    """Return the share of faces in % whose NME (in %) is above `threshold` (a fraction, e.g. 0.1).

    >>> failure_rate([5.0, 9.0, 11.0, 20.0], 0.10)
    50.0
    """
    values = np.asarray(nme, np.float64)
    return float(100 * np.mean(values > 100 * threshold))


def auc(nme: ArrayLike, threshold: float) -> float:
    """The exact area under the CED up to `threshold`, 0…1: the mean of max(0, t − NME) / t.

    >>> round(auc([5.0, 20.0], 0.10), 6)        # (0.5 + 0) / 2
    0.25
    """
    values = np.asarray(nme, np.float64) / 100
    return float(np.mean(np.maximum(0, threshold - values)) / threshold)


def ced(nme: ArrayLike, grid: ArrayLike) -> Array:
    """Return the share of faces, 0…1, with NME at or below each value of `grid`, all in %."""
    values = np.sort(np.asarray(nme, np.float64))
    return np.searchsorted(values, np.asarray(grid, np.float64), side="right") / len(values)


def bootstrap_interval(
    values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean over faces."""
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    # resampled counts, not resampled arrays: the memory does not grow with resamples × faces
    means = [array @ rng.multinomial(len(array), np.full(len(array), 1 / len(array))) for _ in range(resamples)]
    low, high = np.quantile(np.array(means) / len(array), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Score:
    """The figures of one set of faces: the mean error (NME in %, of poses the angle in degrees) and its interval.

    FR@0.08 and FR@0.10 in %, AUC@0.10 0…1; of angles beyond and up to 8 and 10 degrees.
    """

    faces: int
    mean: float
    low: float
    high: float
    fr_08: float
    fr_10: float
    auc_10: float
    nme = RenamedAttribute("mean")

    @classmethod
    def of(cls, errors: ArrayLike) -> Score:
        """Compute from the errors (N,), in %, of at least one face; NaN for a face without an error."""
        values = np.asarray(errors, np.float64)
        values = values[~np.isnan(values)]
        if not len(values):
            raise UserError("no face has the points that its error is normalised by")
        low, high = bootstrap_interval(values)
        return cls(
            faces=len(values),
            mean=float(values.mean()),
            low=low,
            high=high,
            fr_08=failure_rate(values, 0.08),
            fr_10=failure_rate(values, 0.10),
            auc_10=auc(values, 0.10),
        )

    def to_dict(self, metric: str) -> dict[str, float]:
        """Return plain values for JSON; the key of the mean is the name of its metric (`Scheme.metric`)."""
        return {metric if key == "mean" else key: value for key, value in asdict(self).items()}


def part_errors(errors: ArrayLike, scheme: LandmarkScheme) -> dict[str, float]:
    """Return the mean error of each facial part, in %, from errors (N, K)."""
    array = np.asarray(errors, np.float64)
    return {part: mean_of_known(array[:, list(indices)]) for part, indices in scheme.parts.items()}


def mean_of_known(values: ArrayLike) -> float:
    """Return the mean of all values that are not NaN; NaN if there are none."""
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    return float(known.mean()) if len(known) else float("nan")


def worst(nme: ArrayLike, count: int) -> Sequence[int]:
    """Return the indices of the faces with the largest NME, the worst first."""
    values = np.asarray(nme, np.float64)
    return np.argsort(-values, kind="stable")[:count].tolist()
