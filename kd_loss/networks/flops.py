"""The computational cost of a network, counted from the shapes of its layers."""

from __future__ import annotations

import math

import keras

from kd_loss.networks.dynamic import DynamicConv2D


def multiply_adds(model: keras.Model) -> int:
    """Multiply-add operations per image: those of convolutions and dense layers, as is usual.

    Transposed convolutions are counted at their input (each pixel meets the whole kernel). Fixed layers count too.
    """
    return sum(multiply_adds(la) if isinstance(la, keras.Model) else _of_layer(la) for la in model.layers)


def _of_layer(layer: keras.Layer) -> int:
    if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D | keras.layers.Dense):
        return math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return math.prod(layer.output.shape[1:-1]) * kernels
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(layer.input.shape[1:-1]) * math.prod(layer.kernel.shape)
    return layer.multiply_adds() if isinstance(layer, DynamicConv2D) else 0
