"""Trains a recognition network by `fit`: a margin loss and, of dynamic convolutions, clusters of their routing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kd_loss.recognition.margins import MarginHead, contrast

Tensor = Any


class RecogniserTrainer(keras.Model):
    """A network and the centres of its persons, trained on batches of `PersonsLoader`.

    Metrics: `margin`, the margin loss; `accuracy`, the share of images nearest to their own person's centre, without
    margin; with clusters `clusters`, the cross entropy from the routing to the pseudo-labels. Evaluation needs no
    centres: its loss is `margins.contrast`, on persons that are held out.

    Args:
        network: see `network.build_recogniser`.
        head: the centres.
        clusters: number of pseudo-labels; 0: none. weight: λ of their term.
    """

    def __init__(self, network: keras.Model, head: MarginHead, clusters: int = 0, weight: float = 1.0):
        super().__init__(name="recogniser_trainer")
        self.network, self.head, self.weight = network, head, weight
        self.routing_head = None
        if clusters:
            self.routing_head = keras.layers.Dense(clusters, name="routing_head", dtype="float32")
            self.routing_head.build((None, network.output["routing"].shape[-1]))
        self.trackers = {name: keras.metrics.Mean(name=name) for name in self.order[1:]}
        self._trained = True
        self.built = True

    @property
    def order(self) -> list[str]:
        """The columns of a history."""
        return ["loss", "margin", *(["clusters"] if self.routing_head is not None else []), "accuracy"]

    @property
    def objective(self) -> str:
        """The objective as one line."""
        more = f" + {self.weight:g}·clusters" if self.routing_head is not None else ""
        return f"{self.head.kind}(s {self.head.scale:g}, m {self.head.margin:g}, {self.head.ramp} steps of ramp){more}"

    def call(self, batch: dict[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        """The network's outputs."""
        return self.network({name: ops.cast(value, "float32") for name, value in batch.items()}, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The margin loss and the clusters' term; of held-out persons their contrast."""
        self._trained = training
        if not training:
            return ops.mean(contrast(y_pred["embedding"], y["label"]))
        values = self.head.terms(y_pred["embedding"], y["label"])
        total = values["margin"]
        if self.routing_head is not None:
            logits = self.routing_head(y_pred["routing"])
            own = ops.one_hot(ops.cast(y["cluster"], "int32"), logits.shape[-1])  # zeros of −1
            values["clusters"] = ops.mean(
                ops.sum(own, axis=-1) * ops.logsumexp(logits, axis=-1) - ops.sum(own * logits, axis=-1)
            )
            total = total + self.weight * values["clusters"]
        for name, value in values.items():
            self.trackers[name].update_state(value)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """What `compute_loss` recorded; in evaluation the loss alone."""
        results = self.get_metrics_result()
        return results if self._trained else {"loss": results["loss"]}
