"""Batch-norm statistics that match the weights that are validated and saved.

Moving averages lag behind the weights. In MobileNetV2 the depthwise kernels start so small that batch
variances are about 0.01 while moving variances start at 1: for the first third of a training the signal fades
layer by layer in inference, and validation sees the head's bias instead of the network. The averages are
therefore recomputed, from a few batches of the epoch that just ended, before every validation and every save
(Wu & Johnson, "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576: precise BN).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.networks.landmark_net import MOMENTUM

#: largest number of batches used to compute the statistics; one forward pass each
MOST = 8


class _Few(keras.utils.PyDataset):
    """The first images of an epoch, without mixtures, which no network sees at inference."""

    def __init__(self, loader: FaceLoader | MixedLoader, count: int):
        super().__init__(workers=1)
        self.loader, self.count = loader, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, batch: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        images, targets = self.loader[batch]
        kept = images[targets["kind"] < 2] if "kind" in targets else images
        rows = np.ones(len(kept), np.float32)
        # an average that starts at zero ends with this share of its value
        share = 1 - MOMENTUM**self.count if batch == self.count - 1 else 1.0
        return {"images": kept, "keep": rows * (batch > 0), "share": rows * np.float32(share)}, rows


class _TrainingPass(keras.Model):
    """Runs a network in training mode without updating its weights: only the moving averages change.

    They are reset and corrected inside the steps: setting a variable that several processes share from outside is
    expensive.
    """

    def __init__(self, network: keras.Model, layers: list[keras.layers.BatchNormalization]):
        super().__init__(name="statistics")
        self.network, self.layers_to_renew = network, layers
        self.built = True
        # XLA would compile this pass again under TensorFlow, slowly
        self.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's outputs with batch statistics."""
        averages = [v for layer in self.layers_to_renew for v in (layer.moving_mean, layer.moving_variance)]
        for variable in averages:
            variable.assign(variable * ops.max(inputs["keep"]))
        outputs = self.network(ops.cast(inputs["images"], "float32"), training=True)
        for variable in averages:
            variable.assign(variable / ops.max(inputs["share"]))
        return outputs

    def compute_loss(self, *_: Any, **__: Any) -> Any:
        """Returns zero: there is nothing to minimise."""
        return ops.zeros(())


class PreciseBatchNorm(keras.callbacks.Callback):
    """Recomputes the moving averages before each validation, or at the end of an epoch without one.

    Place it before the callback that saves. `network` is the model whose layers are trained; frozen layers keep
    their statistics. The result depends on weights, seed and epoch alone, so a resumed run computes the same.
    """

    def __init__(self, network: keras.Model, loader: FaceLoader | MixedLoader):
        super().__init__()
        self.batches = _Few(loader, max(1, min(MOST, len(loader) // 8)))
        self.layers = [
            layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._pass = _TrainingPass(network, self.layers)
        self._done = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._done = False

    def on_test_begin(self, logs: Any = None) -> None:
        self.update()
        self._done = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self._done:
            self.update()

    def update(self) -> None:
        """Average the batch statistics of a few batches, weighting later ones slightly more."""
        if self.layers:
            self._pass.evaluate(self.batches, verbose=0)
