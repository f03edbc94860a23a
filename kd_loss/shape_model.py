"""Active shape model: landmarks as a mean shape plus a few principal components.

A tolerant teacher learns from *soft* landmarks, the shapes that such a model with few components
can express (Fard & Mahoor 2022; Cootes et al., "Active Shape Models", 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_loss.errors import UserError


@dataclass(frozen=True)
class ShapeModel:
    """PCA of shapes in normalised coordinates.

    Attributes:
        mean: (2K,) mean shape.
        components: (C, 2K) orthonormal rows.
        variances: (C,) eigenvalues λ of the components.
        kept: the share of the shapes' variance that the components explain.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    kept: float

    @classmethod
    def fit(cls, landmarks: np.ndarray, variance: float = 0.90) -> ShapeModel:
        """Fit to (N, K, 2) landmarks, with as few components as keep `variance` (0 < v < 1) of it."""
        from sklearn.decomposition import PCA

        if not 0 < variance < 1:
            raise UserError(f"--variance {variance} is not between 0 and 1")
        if len(landmarks) < 3:
            raise UserError(f"a shape model needs at least 3 faces, got {len(landmarks)}")
        shapes = np.asarray(landmarks, np.float64).reshape(len(landmarks), -1)
        pca = PCA(n_components=variance, svd_solver="full").fit(shapes)
        return cls(pca.mean_, pca.components_, pca.explained_variance_, float(pca.explained_variance_ratio_.sum()))

    def soften(self, landmarks: np.ndarray) -> np.ndarray:
        """Hard landmarks (N, K, 2) to soft ones: `mean + V b`, each b clamped to ±3√λ."""
        shapes = np.asarray(landmarks, np.float64).reshape(len(landmarks), -1)
        limit = 3 * np.sqrt(self.variances)
        parameters = np.clip((shapes - self.mean) @ self.components.T, -limit, limit)
        soft = self.mean + parameters @ self.components
        return soft.reshape(np.shape(landmarks)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as `.npz`."""
        np.savez(path, mean=self.mean, components=self.components, variances=self.variances, kept=self.kept)

    @classmethod
    def load(cls, path: Path) -> ShapeModel:
        """Read what `save` wrote."""
        with np.load(path) as data:
            return cls(data["mean"], data["components"], data["variances"], float(data["kept"]))
