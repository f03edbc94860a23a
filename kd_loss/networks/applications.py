"""All networks of `keras.applications`; their input scaling is derived from Keras itself.

A network that scales its pixels itself is unchanged. One that expects preprocessed pixels (`preprocess_input`) gets a
`Rescaling` layer in front, with numbers found by preprocessing black and the three primary colours. VGG and ResNet were
trained on BGR: the input channels of their first convolution are swapped once when their weights are loaded, so that
every network here takes RGB.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from kd_loss.networks.architecture import Architecture
from kd_loss.networks.graft import graft

_Channels = float | tuple[float, float, float]
_Tensor = Any


def applications() -> dict[str, Architecture]:
    """Name in `keras.applications` -> architecture, for all its networks."""
    found = {}
    for name, function in vars(keras.applications).items():
        if name[0].isupper() and inspect.isfunction(function):
            scaling, reversed_channels = preparation(sys.modules[function.__module__].preprocess_input)
            has_alpha = "alpha" in inspect.signature(function).parameters
            found[name] = Architecture(partial(_build, function, reversed_channels), scaling, has_alpha, 0.0)
    return found


def preparation(prepare: Callable[[np.ndarray], np.ndarray]) -> tuple[tuple[_Channels, _Channels] | None, bool]:
    """What a `preprocess_input` computes: (scale, offset) of RGB, None for the identity, and whether it returns BGR.

    >>> preparation(keras.applications.mobilenet.preprocess_input)
    ((0.00784313725490196, -1.0), False)

    Raises:
        ValueError: it is not a scale and an offset per channel.
    """
    colours = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])
    black, *primaries = np.asarray(prepare(colours.reshape(4, 1, 1, 3).copy())).reshape(4, 3)
    matrix = (np.stack(primaries) - black) / 255  # (colour given, channel received)
    order = np.argmax(np.abs(matrix), axis=1)
    scale, offset = matrix[range(3), order], black[order]
    if not np.allclose(matrix[:, order], np.diag(scale)) or order.tolist() not in ([0, 1, 2], [2, 1, 0]):
        raise ValueError("preprocess_input is not a scale and an offset per channel")
    if np.allclose(scale, 1) and np.allclose(offset, 0):
        return None, bool(order[0] > 0)
    return (_channels(scale), _channels(offset)), bool(order[0] > 0)


def _channels(values: np.ndarray) -> _Channels:
    """One number if the three channels share it."""
    red, green, blue = (float(v) for v in values)
    return red if red == green == blue else (red, green, blue)


def _build(
    function: Callable[..., keras.Model], reversed_channels: bool, input_tensor: _Tensor, **options: Any
) -> keras.Model:
    """Build a network of `keras.applications` on `input_tensor`, from layers that its file can store."""
    model = function(input_shape=tuple(input_tensor.shape[1:]), **options)
    if reversed_channels and options["weights"] is not None:
        first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
        kernel, *rest = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], *rest])
    return graft(model, input_tensor, function.__name__)
