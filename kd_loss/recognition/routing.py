"""Pseudo-labels for the routing of dynamic convolutions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kd_loss.recognition.clusters import kmeans_clusters, matched, sinkhorn
from kd_loss.recognition.loader import PersonsLoader
from kd_loss.recognition.recogniser import Recogniser


class PseudoLabels(keras.callbacks.Callback):
    """Gives the loader's images pseudo-labels from the routing, before the first epoch and after each.

    `kmeans` clusters the routing vectors; `sinkhorn` spreads the images equally over the clusters that the routing
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
        """Assign each training image its cluster."""
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
