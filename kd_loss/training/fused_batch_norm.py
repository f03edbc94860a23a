"""Batch normalisation in one kernel, for training with TensorFlow.

Keras 3 computes the moments, the normalisation and their gradients in a training step with a dozen
element-wise operations; on a CPU they take more than half of a MobileNetV2 step. TensorFlow's fused
kernel computes the same in one operation: a whole distilling step of MobileNetV2 at 224 px on two cores
is 1.6 times as fast (`python -m tools.speed.training`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

REPLACED = (
    "using TensorFlow's fused kernel for batch normalisation (BatchNormalization.call is patched during training)"
)


@contextlib.contextmanager
def fused_batch_normalization() -> Iterator[str]:
    """Context in which batch normalisation trains with TensorFlow's fused kernel; no effect on other backends.

    Within it `keras.layers.BatchNormalization.call` is replaced; the line that it yields reports so.

    Only standard layers are affected (last axis, scale and centre, float32, no mask); saving and
    inference are unchanged.
    """
    if keras.backend.backend() != "tensorflow":
        yield ""
        return
    import tensorflow as tf

    layer_class = keras.layers.BatchNormalization
    original = layer_class.call

    def call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        usual = self.scale and self.center and mask is None and len(inputs.shape) == 4 and self.axis in (3, -1)
        if not (training and self.trainable and usual and inputs.dtype == tf.float32):
            return original(self, inputs, training=training, mask=mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        # the kernel returns the unbiased variance, Keras averages the biased one
        count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
        variance *= (count - 1) / count
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1 - keep))
        return outputs

    layer_class.call = call
    try:
        yield REPLACED
    finally:
        layer_class.call = original
