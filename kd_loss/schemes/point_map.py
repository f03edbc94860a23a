"""A linear map from the points of one scheme to those of another, e.g. 468 of a mesh to 68."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV

from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file

#: candidate ridge strengths, for coordinates in crop sides
STRENGTHS = np.logspace(-5, 1, 13)


@dataclass(frozen=True)
class PointMap:
    """`y = x · kernel + bias` on flattened normalised landmarks.

    Attributes:
        kernel: (2M, 2K); bias: (2K,); strength: the chosen ridge strength.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Normalised points (N, M, 2) -> (N, K, 2) float32."""
        flat = np.asarray(points, np.float64).reshape(len(points), -1) @ self.kernel + self.bias
        return flat.reshape(len(points), -1, 2).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the map as `.npz`."""
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, kernel=self.kernel, bias=self.bias, strength=self.strength)


def held_out_error(
    points: np.ndarray,
    truth: np.ndarray,
    distance: np.ndarray,
    groups: np.ndarray | None = None,
    folds: int = 5,
    rounds: int = 5,
) -> np.ndarray:
    """Cross-validated errors of a map from points to truth.

    Args:
        points: (N, M, 2), the points to map from.
        truth: (N, K, 2), the points to map to, in the same units.
        distance: (N,) normalising distance, e.g. the inter-ocular one.
        groups: (N,) photograph of each face; no photograph is split between fitting and testing. By default each face
            is its own group.
        folds: number of parts, one held out at a time; fewer if there are fewer photographs.
        rounds: number of parts to hold out; one fit each.

    Returns:
        Mean error (K,) of each point in % of the distance.

    Raises:
        UserError: fewer than ten faces to fit on.
    """
    from sklearn.model_selection import GroupKFold

    names = np.arange(len(points)) if groups is None else np.asarray(groups)
    folds = min(folds, len(np.unique(names)))
    if folds < 2:
        raise UserError("the error of a map between point schemes needs faces of at least 2 photographs")
    errors = np.full(truth.shape[:2], np.nan)
    for rest, held in islice(GroupKFold(folds).split(points, groups=names), rounds):
        found = fit_point_map(points[rest], truth[rest])(points[held])
        errors[held] = np.linalg.norm(found - truth[held], axis=2)
    return np.asarray(100 * np.nanmean(errors / distance[:, None], axis=0))


def fit_point_map(points: np.ndarray, truth: np.ndarray) -> PointMap:
    """Fit a ridge regression from a teacher's points (N, M, 2) to the truth (N, K, 2).

    The ridge strength is chosen by leave-one-out errors. Raises a `UserError` for fewer than ten faces.
    """
    if len(points) < 10:
        raise UserError(f"a map between point schemes needs at least 10 training faces, got {len(points)}")
    ridge = RidgeCV(alphas=STRENGTHS)
    ridge.fit(points.reshape(len(points), -1).astype(np.float64), truth.reshape(len(truth), -1).astype(np.float64))
    return PointMap(np.ascontiguousarray(ridge.coef_.T), np.asarray(ridge.intercept_), float(ridge.alpha_))
