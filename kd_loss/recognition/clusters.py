"""Clusters, and how well they agree with what is known of the faces: pose, frontal or profile, skin, hair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_loss.imaging.rotations import to_angles, to_matrices
from kd_loss.recognition.dataset import Persons
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.drawing import enlarge, sheet
from kd_loss.schemes.generic_head import pose_in_crop

#: edges of the bins of yaw in degrees
YAW = (-50, -30, -10, 10, 30, 50)
#: side in pixels of a face on the sheet; faces of a cluster; clusters
SIDE, FACES, SHOWN = 64, 12, 12
#: as in Caron et al.: sharpness and rounds of Sinkhorn's algorithm
EPSILON, ROUNDS = 0.05, 3


def kmeans_clusters(vectors: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """The k-means cluster (N,) of each of the vectors (N, D)."""
    from sklearn.cluster import KMeans

    found = KMeans(min(clusters, len(vectors)), n_init=1, random_state=seed).fit_predict(vectors)
    return np.asarray(found)


def sinkhorn(scores: np.ndarray, epsilon: float = EPSILON, rounds: int = ROUNDS) -> np.ndarray:
    """Soft assignments (N, K) of equal total for every cluster, each row summing to 1, from scores (N, K).

    `Q = exp(scores / ε)`, columns and rows scaled in turn.

    Source:
        Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", NeurIPS 2020.

    Two images that both prefer the first cluster share it:

    >>> sinkhorn(np.array([[1.0, 0.0], [1.0, 0.0]]), epsilon=1.0).round(2).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    q = np.exp((scores - scores.max(axis=1, keepdims=True)) / epsilon).astype(np.float64)
    for _ in range(rounds):
        q /= np.maximum(q.sum(axis=0, keepdims=True), 1e-12) * q.shape[1]
        q /= np.maximum(q.sum(axis=1, keepdims=True), 1e-12) * q.shape[0]
    return q * q.shape[0]


def purity(clusters: np.ndarray, classes: np.ndarray) -> float:
    """The share of images whose class is the most frequent one of their cluster; both (N,).

    It grows with the number of clusters: compare only equal numbers.

    >>> purity(np.array([0, 0, 0, 1]), np.array([1, 1, 2, 2]))
    0.75
    """
    return sum(int(np.unique(classes[clusters == c], return_counts=True)[1].max()) for c in np.unique(clusters)) / len(
        clusters
    )


def mutual_information(clusters: np.ndarray, classes: np.ndarray) -> float:
    """AMI: the mutual information of two labellings (N,), 0 where they agree by chance alone, 1 where they are one."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(classes, clusters))


def matched(new: np.ndarray, old: np.ndarray, clusters: int) -> np.ndarray:
    """New cluster numbers (N,), renamed so that they agree with the old ones as far as possible."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((clusters, clusters))
    np.add.at(table, (new, old), 1)
    rows, columns = linear_sum_assignment(-table)
    return np.asarray(columns[np.argsort(rows)][new])


def classes_of(persons: Persons) -> dict[str, np.ndarray]:
    """Attribute -> the class (N,) of each image, −1 where it is unknown.

    Attributes of whole numbers are classes; yaw is binned at `YAW`. Where the dataset has no yaw, it follows from the
    landmarks by the pose of a generic head.
    """
    found = {name: values.astype(int) for name, values in persons.attributes.items() if name != "yaw"}
    yaw = persons.attributes.get("yaw")
    if yaw is None:
        yaw = np.array([_yaw(points) for points in persons.landmarks])
    found["yaw"] = np.where(np.isfinite(yaw), np.digitize(np.nan_to_num(yaw), YAW), -1)
    return found


def _yaw(points: np.ndarray) -> float:
    pose = pose_in_crop(points, W300) if np.isfinite(points).all() else None
    return float("nan") if pose is None else float(to_angles(to_matrices(pose[0]))[0])


def cluster_figures(
    vectors: Mapping[str, np.ndarray], classes: Mapping[str, np.ndarray], count: int, seed: int = 0
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, np.ndarray]]:
    """Purity and AMI of k-means clusters of each kind of vectors, by attribute.

    Args:
        vectors: kind, such as `embedding` or `routing` -> (N, D), all clustered alike.
        classes: see `classes_of`; an attribute with one class is left out.
        count: number of clusters.
        seed: of k-means.

    Returns:
        Kind -> attribute -> `purity`, `ami` and `largest`, the share of the most frequent class; and the clusters (N,).
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    clusters = {kind: kmeans_clusters(values, count, seed) for kind, values in vectors.items()}
    for kind, own in clusters.items():
        figures[kind] = {}
        for name, values in classes.items():
            known = values >= 0
            if len(np.unique(values[known])) > 1:
                figures[kind][name] = {
                    "purity": purity(own[known], values[known]),
                    "ami": mutual_information(own[known], values[known]),
                    "largest": float(np.unique(values[known], return_counts=True)[1].max() / known.sum()),
                }
    return figures, clusters


def cluster_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the figures."""
    rows = [
        [f"{kind}, {name}", f"{100 * f['purity']:.1f}", f"{100 * f['largest']:.1f}", f"{100 * f['ami']:.1f}"]
        for kind, by_name in figures.items()
        for name, f in by_name.items()
    ]
    return ["clusters of, beside", "purity", "of one cluster", "AMI"], rows


def cluster_sheet(clusters: np.ndarray, images: Any) -> np.ndarray:
    """A row of faces for each of the largest clusters."""
    names, sizes = np.unique(clusters, return_counts=True)
    tiles = []
    for name in names[np.argsort(-sizes)][:SHOWN]:
        rows = np.flatnonzero(clusters == name)
        some = rows[np.unique(np.linspace(0, len(rows) - 1, FACES).astype(int))]
        own = [enlarge(images[i], np.zeros((1, 2)), SIDE)[0] for i in some]
        tiles += own + [np.zeros((SIDE, SIDE, 3), np.uint8)] * (FACES - len(own))
    return sheet(tiles, FACES)
