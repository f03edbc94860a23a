"""A linear map from the points of one scheme to those of another, e.g. 468 of a mesh to 68."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV

from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file

#: strengths of the ridge to choose from, for coordinates in crop sides
STRENGTHS = np.logspace(-5, 1, 13)


@dataclass(frozen=True)
class PointMap:
    """`y = x · kernel + bias` on flattened normalised landmarks.

    Attributes:
        kernel: (2M, 2K); bias: (2K,); strength: of the ridge that was chosen.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Normalised points (N, M, 2) -> (N, K, 2) float32."""
        flat = np.asarray(points, np.float64).reshape(len(points), -1) @ self.kernel + self.bias
        return flat.reshape(len(points), -1, 2).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it as `.npz`."""
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, kernel=self.kernel, bias=self.bias, strength=self.strength)


def fit_point_map(points: np.ndarray, truth: np.ndarray) -> PointMap:
    """Ridge regression from a teacher's points (N, M, 2) to the truth (N, K, 2).

    The strength of the ridge is chosen by leave-one-out errors. `UserError` for fewer than ten faces.
    """
    if len(points) < 10:
        raise UserError(f"a map between point schemes wants at least 10 training faces, there are {len(points)}")
    ridge = RidgeCV(alphas=STRENGTHS)
    ridge.fit(points.reshape(len(points), -1).astype(np.float64), truth.reshape(len(truth), -1).astype(np.float64))
    return PointMap(np.ascontiguousarray(ridge.coef_.T), np.asarray(ridge.intercept_), float(ridge.alpha_))
