"""The layers of recognition: AdaIN and the integration of a landmark network's maps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.networks.dynamic import MOMENTUM

L = keras.layers
Tensor = Any


def adain(x: Tensor, y: Tensor, epsilon: float = 1e-5) -> Tensor:
    """`σ(y)·(x − μ(x)) / σ(x) + μ(y)`: maps x with the mean and deviation, per sample and channel, of maps y.

    Args:
        x: (B, h, w, C).
        y: (B, H, W, C).
        epsilon: added to variances.

    Returns:
        (B, h, w, C).

    Source:
        Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017.

    >>> found = adain(ops.reshape([-1.0, 1.0], (1, 1, 2, 1)), ops.reshape([10.0, 14.0], (1, 1, 2, 1)))
    >>> [round(float(value)) for value in found[0, 0, :, 0]]
    [10, 14]
    """
    mean, variance = ops.moments(x, axes=(1, 2), keepdims=True)
    other_mean, other_variance = ops.moments(y, axes=(1, 2), keepdims=True)
    return (x - mean) * ops.sqrt((other_variance + epsilon) / (variance + epsilon)) + other_mean


def batch_norm(name: str, **options: Any) -> keras.Layer:
    """A batch normalisation with the package's momentum."""
    return L.BatchNormalization(momentum=MOMENTUM, epsilon=1e-5, name=name, **options)


def prelu(name: str) -> keras.Layer:
    """PReLU with one slope a channel, starting at 0.25."""
    return L.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2], name=name)


def resized(maps: Tensor, size: int) -> Tensor:
    """Square maps (B, s, s, C) interpolated to (B, size, size, C); averaged where they shrink.

    The same numbers as `ops.image.resize` with `antialias=True`, whose operation LiteRT and ONNX do not have:
    enlarged, it is the interpolation without antialias; shrunk, it is a product with fixed weights along each axis.
    """
    side = maps.shape[1]
    if side == size:
        return maps
    if side < size:
        return ops.image.resize(maps, (size, size))
    return Shrunk(size)(maps)


class Shrunk(keras.Operation):
    """Square maps (B, s, s, C) averaged to fewer cells (B, size, size, C).

    One operation, as `ops.image.resize` is: a file of weights names layers by their place among the operations.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def call(self, maps: Tensor) -> Tensor:
        """A product with `shrinking_weights` along each axis."""
        side, channels = maps.shape[1], maps.shape[3]
        weights = shrinking_weights(side, self.size)
        rows = ops.matmul(weights, ops.reshape(maps, (-1, side, side * channels)))
        columns = ops.matmul(weights, ops.reshape(rows, (-1, side, channels)))
        return ops.reshape(columns, (-1, self.size, self.size, channels))

    def compute_output_spec(self, maps: Tensor) -> Tensor:
        """Shape and type of the answer."""
        return keras.KerasTensor((maps.shape[0], self.size, self.size, maps.shape[3]), maps.dtype)


def shrinking_weights(side: int, size: int) -> np.ndarray:
    """The weights (size, side) of the `side` cells of a row in each of `size` fewer cells; each cell's sum is 1.

    A cell averages those around its centre with a triangle of twice its own width.

    >>> shrinking_weights(4, 2).astype(float).round(3).tolist()
    [[0.429, 0.429, 0.143, 0.0], [0.0, 0.143, 0.429, 0.429]]
    """
    scale = side / size
    centres = (np.arange(size) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(side) - centres[:, None]) / scale)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def adapted(maps: Tensor, channels: int, name: str) -> Tensor:
    """x̂ = conv1×1(BN(x)): a landmark network's maps with the channels of the recognition network, at their own size."""
    x = batch_norm(f"{name}_bn")(maps)
    return L.Conv2D(channels, 1, use_bias=False, name=f"{name}_conv")(x)


def integrate(kind: str, y: Tensor, adapted_maps: Tensor, name: str, start: str = "ones") -> Tensor:
    """Features y (B, s, s, C) with a landmark network's adapted maps x̂ integrated, (B, s, s, C).

    x̃ = AdaIN(x̂, y), interpolated to the size of y. `bl`: PReLU(y + BN(conv1×1([y; x̃]))); `sl`: PReLU(y + x̃); `al`:
    as `bl` with 1×1, 3×3 and 1×1 convolutions. `start`: initial values of the last normalisation's factor.

    Source:
        Yang, Bulat & Tzimiropoulos, "FAN-Face: a Simple Orthogonal Improvement to Deep Face Recognition", AAAI 2020.
    """
    channels = y.shape[-1]
    x = adain(resized(adapted_maps, y.shape[1]), y)
    if kind == "sl":
        return prelu(f"{name}_prelu")(L.Add(name=f"{name}_add")([y, x]))
    z = L.Concatenate(name=f"{name}_both")([y, x])
    sides = (1, 3, 1) if kind == "al" else (1,)
    for number, side in enumerate(sides, start=1):
        z = L.Conv2D(channels, side, padding="same", use_bias=False, name=f"{name}_conv{number}")(z)
        if number < len(sides):
            z = prelu(f"{name}_prelu{number}")(batch_norm(f"{name}_bn{number}")(z))
    z = batch_norm(f"{name}_bn", gamma_initializer=start)(z)
    return prelu(f"{name}_prelu")(L.Add(name=f"{name}_add")([y, z]))
