"""Reads and sets the scaling of the pixels at the input of a network, whichever layers apply it.

MobileNetV2 has one `Rescaling` here; Keras's EfficientNet has a `Rescaling` and a `Normalization`, and
another `Rescaling` if it started from ImageNet's weights; older files of ConvNeXt have a `Normalization` with
fixed numbers.
"""

from __future__ import annotations

import keras
import numpy as np

from kd_loss.system.errors import UserError


def _layers(model: keras.Model) -> list[keras.Layer]:
    """The scaling layers at the input; rescaling deeper in the network does not concern the pixels."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            found.append(layer)
        elif not isinstance(layer, keras.layers.InputLayer | keras.layers.ZeroPadding2D):
            break
    return found


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
    """The combined scale and offset (3,) that the layers at the input apply to RGB pixels."""
    scale, offset = np.ones(3), np.zeros(3)
    for layer in _layers(model):
        a, b = layer_scaling(layer)
        scale, offset = a * scale, a * offset + b
    return scale, offset


def set_input_scaling(model: keras.Model, scale: np.ndarray, offset: np.ndarray) -> None:
    """Make the layers at the input of a network compute `pixels · scale + offset`, (3,) each, `scale` positive.

    The values are saved with the network: a `Normalization` stores them as weights, or as fixed numbers.

    Raises:
        UserError: the network has no such layer and its present scaling differs.
    """
    scale, offset = scale * np.ones(3), offset * np.ones(3)
    layers = _layers(model)
    if not layers:
        if not np.allclose(input_scaling(model), [scale, offset]):
            raise UserError(f"the network {model.name} has no input scaling, so its input range cannot be set")
        return
    normalisation = [layer for layer in layers if isinstance(layer, keras.layers.Normalization)]
    if not normalisation:
        first, *others = layers
        uniform = np.ptp(scale) == 0 and np.ptp(offset) == 0
        first.scale, first.offset = (float(v[0]) if uniform else v.tolist() for v in (scale, offset))
    else:
        [layer] = normalisation
        rescalings = [la for la in layers if la is not layer]
        before, shift = np.ones(3), np.zeros(3)
        others = rescalings
        if rescalings and layers[0] is rescalings[0]:
            others = rescalings[1:]
            before, shift = layer_scaling(rescalings[0])
        deviation = before / scale
        _normalise(layer, shift - offset * deviation, np.square(deviation))
    for other in others:
        other.scale, other.offset = 1.0, 0.0


def _normalise(layer: keras.layers.Normalization, mean: np.ndarray, variance: np.ndarray) -> None:
    if weights := layer.get_weights():
        layer.set_weights([mean.astype(np.float32), variance.astype(np.float32), weights[2]])
        layer.finalize_state()  # derives the values it computes with from its weights
    else:
        layer.input_mean, layer.input_variance = mean.tolist(), variance.tolist()
        layer.build(layer.input.shape)
