"""Active shape model: landmarks as a mean shape plus a few principal components.

A tolerant teacher learns from *soft* landmarks, the shapes that such a model with few components
can express (Fard & Mahoor 2022; Cootes et al., "Active Shape Models", 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.system.errors import UserError

#: faces with all points that a shape model needs
FEWEST = 3


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
        """Fit to (N, K, 2) landmarks with the fewest components that keep `variance` (0 < v < 1).

        Faces with points that are not annotated (NaN) are ignored.
        """
        from sklearn.decomposition import PCA

        if not 0 < variance < 1:
            raise UserError(f"--shape-variance {variance} is not between 0 and 1")
        landmarks = landmarks[~np.isnan(landmarks).any(axis=(1, 2))]
        if len(landmarks) < FEWEST:
            raise UserError(f"a shape model needs at least {FEWEST} faces with all points, got {len(landmarks)}")
        shapes = np.asarray(landmarks, np.float64).reshape(len(landmarks), -1)
        pca = PCA(n_components=variance, svd_solver="full").fit(shapes)
        # identical faces have no variance, so all of it is kept
        kept = float(pca.explained_variance_ratio_.sum()) if pca.explained_variance_.sum() > 0 else 1.0
        return cls(pca.mean_, pca.components_, pca.explained_variance_, kept)

    def soften(self, landmarks: np.ndarray) -> np.ndarray:
        """Convert hard landmarks (N, K, 2) to soft ones: `mean + V b`, each b clamped to ±3√λ.

        Points that are not annotated (NaN) stay so; b is then the least squares fit to the others.
        """
        shapes = np.asarray(landmarks, np.float64).reshape(len(landmarks), -1)
        limit = 3 * np.sqrt(self.variances)
        parameters = (shapes - self.mean) @ self.components.T
        for row in np.flatnonzero(np.isnan(parameters).any(axis=1)):
            seen = ~np.isnan(shapes[row])
            # a weak prior keeps b finite when few points are annotated
            basis, prior = self.components[:, seen], 1e-4 / np.maximum(self.variances, 1e-9)
            parameters[row] = np.linalg.solve(basis @ basis.T + np.diag(prior), basis @ (shapes[row] - self.mean)[seen])
        soft = self.mean + np.clip(parameters, -limit, limit) @ self.components
        soft[np.isnan(shapes)] = np.nan
        return soft.reshape(np.shape(landmarks)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as `.npz`."""
        np.savez(path, mean=self.mean, components=self.components, variances=self.variances, kept=self.kept)

    @classmethod
    def load(cls, path: Path) -> ShapeModel:
        """Read what `save` wrote."""
        with np.load(path) as data:
            return cls(data["mean"], data["components"], data["variances"], float(data["kept"]))


@dataclass(frozen=True)
class ShapeCompletion:
    """Rough estimate of the points that are not annotated, accurate enough for the size of the face.

    It is the most likely shape of an active shape model, under a similarity, given the annotated points. The
    components come from shapes aligned to their mean by translation, rotation and scale.

    Attributes:
        mean: (K, 2); components: (C, 2K); variances: (C,).
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, faces: list[np.ndarray]) -> ShapeCompletion | None:
        """Fit to the fully annotated faces (K, 2); return None if there are too few."""
        whole = [face for face in faces if not np.isnan(face).any()]
        if len(whole) < 10:
            return None
        from sklearn.decomposition import PCA

        shapes = np.stack(whole)
        mean = shapes[0] - shapes[0].mean(axis=0)
        for _ in range(2):
            mean /= np.linalg.norm(mean)
            moved = [geometry.apply(geometry.fit_similarity(shape, mean), shape) for shape in shapes]
            mean = np.mean(moved, axis=0)
        pca = PCA(n_components=0.95, svd_solver="full").fit(np.stack(moved).reshape(len(moved), -1))
        return cls(pca.mean_.reshape(-1, 2), pca.components_, pca.explained_variance_)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Fill the NaN points of (K, 2); annotated points are unchanged."""
        seen = ~np.isnan(points[:, 0])
        if seen.all():
            return points
        shape = self.mean
        basis = self.components.reshape(len(self.components), -1, 2)[:, seen].reshape(len(self.components), -1)
        # assumed annotation error: a hundredth of the face
        prior = np.diag((0.01 * np.linalg.norm(self.mean) / len(self.mean) ** 0.5) ** 2 / self.variances)
        for _ in range(5):
            affine = geometry.fit_similarity(shape[seen], points[seen])
            target = np.linalg.solve(affine[:, :2], (points[seen] - affine[:, 2]).T).T
            b = np.linalg.solve(basis @ basis.T + prior, basis @ (target - self.mean[seen]).reshape(-1))
            shape = self.mean + (b @ self.components).reshape(-1, 2)
        affine = geometry.fit_similarity(shape[seen], points[seen])
        return np.where(seen[:, None], points, geometry.apply(affine, shape))
