"""Heads that map a backbone's features to landmarks: a pooled head, and heatmaps with a soft-argmax.

Two more are in separate modules: `simcc`, `pixel_in_pixel`.

`pooled`: global average pooling, dropout, a linear layer to 2K numbers, or to those of any other target. Small and
fast, but pooling discards positions, which the linear layer must recover.

`heatmap`: a light decoder from the backbone's last map to stride 4, a map per landmark, a softmax over its
cells and the expectation of the cells' places (soft-argmax; Sun et al., "Integral Human Pose Regression", ECCV
2018; at this size Yu & Tao, H3R, arXiv 2009.00225). An expectation cannot reach the border of its own grid, so
the grid is stretched by a quarter beyond the crop.

Both are built from Keras's own layers, so that their files load in plain Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.networks.head_registry import HEADS, HeadInputs, register_built_in

#: the side of the soft-argmax's grid, in crop sides
STRETCH = 1.25
#: channels of a decoder at width 1
DECODER_CHANNELS = 96

_Tensor = Any


@register_built_in("pooled", cut="P5", points_only=False)
def pooled_head(inputs: HeadInputs) -> dict[str, _Tensor]:
    """Compute targets (B, N, C), (B, K, 2) for landmarks, and the embedding (B, c), from the last map (B, h, w, c).

    With a mean shape, the layer starts with it as its bias and with small weights, so that the first prediction is a
    face, not noise.
    """
    shape, mean_shape = inputs.shape, inputs.mean_shape
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(inputs.features)
    x = keras.layers.Dropout(inputs.dropout, seed=inputs.seed, name="dropout", dtype="float32")(embedding)
    head = keras.layers.Dense(shape[0] * shape[1], name="head", dtype="float32")
    x = head(x)
    if mean_shape is not None:
        kernel, _ = head.get_weights()
        head.set_weights([kernel / 10, np.asarray(mean_shape, np.float32).reshape(-1)])
    target = keras.layers.Reshape(shape, name="landmarks" if shape[1] == 2 else "target", dtype="float32")(x)
    return {"landmarks": target, "embedding": embedding}


def grid(height: int, width: int, stretch: float = STRETCH) -> np.ndarray:
    """Centres of the cells of a heatmap in normalised coordinates, (h·w, 2) float32 as (x, y).

    >>> grid(1, 2, 1.0).tolist()
    [[-0.25, 0.0], [0.25, 0.0]]
    """
    x = ((np.arange(width) + 0.5) / width - 0.5) * stretch
    y = ((np.arange(height) + 0.5) / height - 0.5) * stretch
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def fixed(values: np.ndarray, name: str, x: _Tensor) -> _Tensor:
    """Apply a fixed linear layer (C, N) to the last axis of x."""
    layer = keras.layers.Dense(values.shape[1], use_bias=False, trainable=False, name=name, dtype="float32")
    y = layer(x)
    layer.set_weights([values])
    return y


def decoder_features(maps: Mapping[str, _Tensor], width: float = 1.0, prefix: str = "decoder") -> _Tensor:
    """Decode features for heatmaps, (B, h, w, C), at the resolution of P2 (or of the finest map given).

    Args:
        maps: feature maps by name, `P2` … `P5`; the coarsest is decoded, and the finer ones are added in turn.
        width: multiplier of the decoder's channels, like a backbone's alpha.
        prefix: prefix of the layers' names.
    """
    channels = max(16, round(DECODER_CHANNELS * width / 8) * 8)
    names = iter(range(100))

    def normalised(x: _Tensor, name: str) -> _Tensor:
        return keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)

    def relu(x: _Tensor, name: str) -> _Tensor:
        return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)

    def pointwise(x: _Tensor, name: str) -> _Tensor:
        return normalised(keras.layers.Conv2D(channels, 1, use_bias=False, name=name)(x), name)

    def separable(x: _Tensor) -> _Tensor:
        name = f"{prefix}_{next(names)}"
        x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
        x = relu(normalised(x, f"{name}_depthwise"), f"{name}_depthwise")
        return relu(pointwise(x, f"{name}_project"), f"{name}_project")

    levels = sorted(maps, reverse=True)
    x = relu(pointwise(maps[levels[0]], f"{prefix}_entry"), f"{prefix}_entry")
    x = separable(separable(x))
    for before, level in pairwise(levels):
        name = f"{prefix}_{level}"
        # a custom network may skip a resolution
        times = 2 ** (int(before[1:]) - int(level[1:]))
        x = keras.layers.UpSampling2D(times, interpolation="bilinear", name=f"{name}_up")(x)
        x = _as_large_as(maps[level], x, name)
        x = keras.layers.Add(name=f"{name}_add")([x, pointwise(maps[level], f"{name}_lateral")])
        x = separable(relu(x, name))
    return x


def _as_large_as(wanted: _Tensor, x: _Tensor, name: str) -> _Tensor:
    """Crop or pad a map to the sides of another one.

    Halving an odd side rounds up, so the excess is at its end. Convolutions without padding (Inception) lose the rim
    on both sides, so both are padded.
    """
    extra = [side - other for side, other in zip(x.shape[1:3], wanted.shape[1:3], strict=True)]
    if any(e > 0 for e in extra):
        x = keras.layers.Cropping2D([(0, max(0, e)) for e in extra], name=f"{name}_crop")(x)
    if any(e < 0 for e in extra):
        rims = [(max(0, -e) // 2, max(0, -e) - max(0, -e) // 2) for e in extra]
        x = keras.layers.ZeroPadding2D(rims, name=f"{name}_rim")(x)
    return x


def decoder(maps: Mapping[str, _Tensor], points: int, width: float = 1.0, prefix: str = "decoder") -> _Tensor:
    """Compute heatmaps (B, h, w, K) before their softmax, see `decoder_features`."""
    x = decoder_features(maps, width, prefix)
    return keras.layers.Conv2D(points, 1, name=f"{prefix}_heatmaps", dtype="float32")(x)


def soft_argmax(heatmaps: _Tensor, prefix: str = "", name: str = "landmarks") -> _Tensor:
    """Compute landmarks (B, K, 2) from heatmaps (B, h, w, K): softmax over the cells, expectation of positions."""
    _, height, width, points = heatmaps.shape
    x = keras.layers.Reshape((height * width, points), name=f"{prefix}cells", dtype="float32")(heatmaps)
    x = keras.layers.Permute((2, 1), name=f"{prefix}maps", dtype="float32")(x)
    x = keras.layers.Softmax(axis=-1, name=f"{prefix}probabilities", dtype="float32")(x)
    return fixed(grid(height, width), name, x)


def heatmap_head(maps: Mapping[str, _Tensor], points: int, width: float) -> _Tensor:
    """Compute landmarks (B, K, 2) through heatmaps, from feature maps by name (see `decoder`)."""
    return soft_argmax(decoder(maps, points, width))


def _second_moment(model: keras.Model) -> _Tensor:
    """E (x² + y²) over the cells of heatmaps, (B, K, 1)."""
    _, height, width, _ = model.get_layer("decoder_heatmaps").output.shape
    squares = np.square(grid(height, width)).sum(axis=1, keepdims=True)
    return fixed(squares, "second_moment", model.get_layer("probabilities").output)


@register_built_in("heatmap", second_moment=_second_moment)
def _heatmap(inputs: HeadInputs) -> dict[str, _Tensor]:
    """Landmarks (B, K, 2) and the heatmaps (B, h, w, K) before their softmax."""
    points = inputs.shape[0]
    if inputs.own_maps:
        # 3 × 3, as a pointwise convolution of 35 maps cannot yield 68 independent ones
        layer = keras.layers.Conv2D(points, 3, padding="same", name="decoder_heatmaps", dtype="float32")
        heatmaps = layer(inputs.features)
    else:
        heatmaps = decoder(inputs.maps, points, inputs.width)
    return {"landmarks": soft_argmax(heatmaps), "heatmaps": heatmaps}


def spread(model: keras.Model, head: str = "heatmap") -> _Tensor:
    """The root mean squared distance of a landmark's distribution from its expectation, (B, K), in crop sides.

    Models with distributions in their heads compute it from the same probabilities as the landmarks; the second moment
    is taken about the crop's centre, which in float32 is accurate to 1.8e-4 of the crop.
    """
    second_moment = HEADS[head].second_moment
    assert second_moment is not None
    second = second_moment(model)
    second = keras.layers.Reshape((second.shape[1],), name="moment", dtype="float32")(second)
    landmarks = model.get_layer("landmarks").output
    return Spread(name="spread", dtype="float32")([second, landmarks])


class Spread(keras.layers.Layer):
    """√(E‖z‖² − ‖E z‖²) from the second moments (B, K) and the expectations (B, K, 2); in exports only."""

    def call(self, inputs: list[_Tensor]) -> _Tensor:
        """(B, K)."""
        second, mean = inputs
        return ops.sqrt(ops.maximum(second - ops.sum(ops.square(mean), axis=-1), 1e-10))
