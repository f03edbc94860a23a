"""The scaling of the pixels at the input of a network: read and set, whichever layers do it.

MobileNetV2 has one `Rescaling` here; Keras's EfficientNet has a `Rescaling` and a `Normalization`, and
another `Rescaling` where it started from ImageNet's weights.
"""

from __future__ import annotations

import keras
import numpy as np


def _layers(model: keras.Model) -> list[keras.Layer]:
    return [la for la in model.layers if isinstance(la, keras.layers.Rescaling | keras.layers.Normalization)]


def layer_scaling(layer: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset (3,) of one `Rescaling` or `Normalization` layer."""
    if isinstance(layer, keras.layers.Normalization):
        mean, variance = (
            np.ravel(keras.ops.convert_to_numpy(v)).astype(np.float64) for v in (layer.mean, layer.variance)
        )
        deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        return 1 / deviation * np.ones(3), -mean / deviation * np.ones(3)
    scale, offset = (np.asarray(v, np.float64) for v in (layer.scale, layer.offset))
    return scale * np.ones(3), offset * np.ones(3)


def input_scaling(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset (3,) that the layers at the input apply to RGB pixels together."""
    scale, offset = np.ones(3), np.zeros(3)
    for layer in _layers(model):
        a, b = layer_scaling(layer)
        scale, offset = a * scale, a * offset + b
    return scale, offset


def set_input_scaling(model: keras.Model, scale: np.ndarray, offset: np.ndarray) -> None:
    """Let the layers at the input of a network compute `pixels · scale + offset`, (3,) each, `scale` positive.

    What is set is saved with the network: a `Normalization` gets it as its weights.
    """
    scale, offset = scale * np.ones(3), offset * np.ones(3)
    normalisation = [layer for layer in _layers(model) if isinstance(layer, keras.layers.Normalization)]
    if not normalisation:
        [layer] = _layers(model)
        uniform = np.ptp(scale) == 0 and np.ptp(offset) == 0
        layer.scale, layer.offset = (float(v[0]) if uniform else v.tolist() for v in (scale, offset))
        return
    [layer] = normalisation
    first, *others = [la for la in _layers(model) if la is not layer]
    for other in others:
        other.scale, other.offset = 1.0, 0.0
    before, _ = layer_scaling(first)
    deviation = before / scale
    count = layer.get_weights()[2]
    layer.set_weights([(-offset * deviation).astype(np.float32), np.square(deviation).astype(np.float32), count])
    layer.finalize_state()  # what it computes with is derived from its weights
