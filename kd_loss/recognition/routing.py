"""Pseudo-labels for the routing of dynamic convolutions, and how well clusters agree with known attributes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kd_loss.recognition.loader import PersonsLoader
from kd_loss.recognition.recogniser import Recogniser

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

    Two pictures that both prefer the first cluster share it:

    >>> sinkhorn(np.array([[1.0, 0.0], [1.0, 0.0]]), epsilon=1.0).round(2).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    q = np.exp((scores - scores.max(axis=1, keepdims=True)) / epsilon).astype(np.float64)
    for _ in range(rounds):
        q /= np.maximum(q.sum(axis=0, keepdims=True), 1e-12) * q.shape[1]
        q /= np.maximum(q.sum(axis=1, keepdims=True), 1e-12) * q.shape[0]
    return q * q.shape[0]


def purity(clusters: np.ndarray, classes: np.ndarray) -> float:
    """The share of pictures whose class is the most frequent one of their cluster; both (N,).

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


class PseudoLabels(keras.callbacks.Callback):
    """Gives the loader's pictures pseudo-labels from the routing, before the first epoch and after each.

    `kmeans` clusters the routing vectors; `sinkhorn` spreads the pictures equally over the clusters that the routing
    head predicts. New k-means clusters are named after those that the head predicts, so that it need not begin anew.
    """

    def __init__(self, recogniser: Recogniser, trainer: Any, loader: PersonsLoader, kind: str, seed: int):
        super().__init__()
        self.recogniser, self.trainer, self.loader, self.kind, self.seed = recogniser, trainer, loader, kind, seed

    def on_train_begin(self, logs: Any = None) -> None:
        self.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.update()

    def update(self) -> None:
        """Assign each training picture its cluster."""
        loader, head = self.loader, self.trainer.routing_head
        kernel, bias = head.get_weights()
        parts = []
        for start in range(0, len(loader.chosen), 256):
            rows = loader.chosen[start : start + 256]
            x = {"image": loader.images[rows].astype(np.float32)}
            x |= {name: np.asarray(values[loader.of_maps[rows], 0], np.float32) for name, values in loader.maps.items()}
            parts.append(self.recogniser.network.predict_on_batch(x)["routing"])
        vectors = np.concatenate(parts)
        scores = vectors @ kernel + bias
        if self.kind == "kmeans":
            # named by what the head predicts, which is all that a resumed training has of the clusters before
            new = matched(kmeans_clusters(vectors, head.units, self.seed), scores.argmax(axis=1), head.units)
        else:
            scores = scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-9)
            new = sinkhorn(scores).argmax(axis=1)
        loader.clusters[loader.chosen] = new
