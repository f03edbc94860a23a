"""Trains a detector without labels: equivariance, and reconstruction of one frame of a clip from another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from kd_loss.keypoints import losses
from kd_loss.keypoints.motion import Animator
from kd_loss.keypoints.warp import warp_images
from kd_loss.networks.keypoint_detector import OUTPUTS, KeypointDetector
from kd_loss.system.files import atomic_file

Tensor = Any

#: the terms and their weights. The equivariances' are the published ones; without VGG's features, the weight of the
#: reconstruction raises it to several times their size.
WEIGHTS = {"pyramid": 100.0, "features": 10.0, "value": 10.0, "jacobian": 10.0}


class TermModel(keras.Model):
    """A model whose loss is the weighted sum of named terms, each of which is a metric under its name.

    Attributes:
        weights_of_terms: name -> weight.
        terms: their names; objective: their sum in words.
    """

    def __init__(self, name: str):
        super().__init__(name=name)
        self.trackers: dict[str, keras.metrics.Metric] = {}

    def track(self, weights: Mapping[str, float], *more: str) -> None:
        """Create the metrics of weighted terms, and of `more` values; the last step of the constructor."""
        self.weights_of_terms, self.terms = dict(weights), list(weights)
        self.objective = " + ".join(name if weight == 1 else f"{weight:g}·{name}" for name, weight in weights.items())
        self.trackers = {name: keras.metrics.Mean(name=name) for name in (*weights, *more)}
        self.built = True

    def record(self, values: Mapping[str, Tensor]) -> None:
        """Add values (B,) to the running means of their metrics."""
        for name, value in values.items():
            self.trackers[name].update_state(value)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The terms, as `compute_loss` recorded them."""
        return self.get_metrics_result()

    def save_beside(self, folder: Path) -> None:
        """Write what else a detector's run keeps of its best epoch; here nothing."""


class KeypointTrainer(TermModel):
    """Trains a detector and an animator by `fit` on batches of `clips.PairLoader`.

    Args:
        detector: detector to train.
        animator: animator trained with it.
        features: images (B, S, S, 3) RGB 0…255 -> dictionary of feature maps in which images are also compared;
            not trained. None: images are compared by pixels alone.
        separation: weight of `losses.separation` of the driving image's keypoints.
    """

    def __init__(
        self,
        detector: KeypointDetector,
        animator: Animator,
        features: keras.Model | None = None,
        separation: float = 0.0,
    ):
        super().__init__("keypoint_trainer")
        self.detector, self.animator = detector.model, animator
        self._features = [lambda images: features(images, training=False)] if features is not None else []
        if features is not None:
            features.trainable = False
        weights = {**WEIGHTS, "features": WEIGHTS["features"] * (features is not None), "separation": separation}
        self.track({name: weight for name, weight in weights.items() if weight})

    def call(self, batch: dict[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        """Keypoints and Jacobians of source, driving and warped driving image, and the reconstructed driving one."""
        source, driving = (ops.cast(batch[name], "float32") for name in ("source", "driving"))
        warped = warp_images(batch["affine"], batch["plate"], driving)
        found = self.detector(ops.concatenate([source, driving, warped]), training=training)
        parts = {name: ops.split(found[name], 3) for name in OUTPUTS[:2]}
        shown = [{name: parts[name][i] for name in parts} for i in range(3)]
        made = self.animator({"image": source / 255, "source": shown[0], "driving": shown[1]}, training=training)
        named = {
            f"{who}_{name}": shown[i][name] for i, who in enumerate(("source", "driving", "warped")) for name in parts
        }
        return {**named, "picture": made["picture"]}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The weighted sum of the terms, each of which is a metric under its own name."""
        warp = x["affine"], x["plate"]
        wanted = ops.cast(x["driving"], "float32")
        values = {
            "pyramid": losses.pyramid_l1(y_pred["picture"], wanted / 255),
            "value": losses.equivariance_value(*warp, y_pred["driving_keypoints"], y_pred["warped_keypoints"]),
            "jacobian": losses.equivariance_jacobian(
                *warp, y_pred["driving_jacobians"], y_pred["warped_jacobians"], y_pred["warped_keypoints"]
            ),
        }
        if "separation" in self.terms:
            values["separation"] = losses.separation(y_pred["driving_keypoints"])
        for features in self._features:
            true = {name: ops.stop_gradient(value) for name, value in features(wanted).items()}
            predicted = features(255 * y_pred["picture"])
            values["features"] = losses.feature_l1([predicted[name] for name in true], list(true.values()))
        self.record({name: values[name] for name in self.terms})
        return sum(self.weights_of_terms[name] * ops.mean(values[name]) for name in self.terms)

    def save_beside(self, folder: Path) -> None:
        """Save the weights of the animator."""
        save_weights(self.animator, folder / "animator.weights.h5")


def save_weights(model: keras.Model, path: Path) -> None:
    """Save a model's weights, atomically."""
    with atomic_file(path, ".weights.h5") as temporary:
        model.save_weights(temporary)
