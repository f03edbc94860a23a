"""The finder's network: depthwise-separable convolutions, a feature pyramid of two maps."""

from __future__ import annotations

from typing import Any

import keras

from kd_loss.detection.finder_format import CHANNELS, LEVELS

L = keras.layers


def build_finder(size: int, widths: tuple[int, ...] = (16, 24, 48, 96, 128)) -> keras.Model:
    """Images (B, S, S, 3) RGB 0…255, S a multiple of 32 -> two maps (B, S/8, S/8, 14) and (B, S/16, S/16, 14).

    What the numbers of a cell mean: `detection.finder_format`. About 0.17 million parameters with the default widths,
    those of the maps of stride 2 … 32.
    """
    entry = keras.Input((size, size, 3), name="image")
    x = L.Rescaling(1 / 127.5, -1.0)(entry)
    x = L.Conv2D(widths[0], 3, 2, padding="same", use_bias=False, name="stem_pointwise")(x)
    x = L.ReLU()(L.BatchNormalization(momentum=0.97, name="stem_pointwise_norm")(x))
    x = _separable(_separable(x, widths[1], 2, 3, "s4_0"), widths[1], 1, 3, "s4_1")
    maps = []
    for stride, width in zip((8, 16, 32), widths[2:], strict=True):
        x = _separable(x, width, 2, 5, f"s{stride}_0")
        for number in range(1, 4):  # the last one begins as if it were not there
            x = _separable(x, width, 1, 5, f"s{stride}_{number}", neutral=number > 2)
        maps.append(x)
    fine, middle, coarse = maps
    middle = _joined(coarse, middle, 64, "j16")
    fine = _joined(middle, fine, widths[2], "j8")
    outputs = []
    for level, features in zip(LEVELS, (fine, middle), strict=True):
        features = _separable(features, features.shape[-1], 1, 5, f"h{level.stride}")
        # a network that has not learned says "no face" nearly everywhere: sigmoid(-4) is 2 %
        bias = keras.initializers.Constant([-4.0, *[0.0] * (CHANNELS - 1)])
        outputs.append(L.Conv2D(CHANNELS, 1, bias_initializer=bias, name=f"stride_{level.stride}")(features))
    return keras.Model(entry, outputs, name="finder")


def _separable(x: Any, width: int, stride: int, kernel: int, name: str, neutral: bool = False) -> Any:
    """Depthwise, then pointwise convolution; added to what came in where the shapes agree."""
    y = L.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    y = L.BatchNormalization(momentum=0.97, name=f"{name}_depthwise_norm")(y)
    y = L.Conv2D(width, 1, use_bias=False, name=f"{name}_pointwise")(y)
    gamma = "zeros" if neutral else "ones"
    y = L.BatchNormalization(momentum=0.97, gamma_initializer=gamma, name=f"{name}_pointwise_norm")(y)
    if stride == 1 and x.shape[-1] == width:
        y = L.Add()([x, y])
    return L.ReLU()(y)


def _joined(coarse: Any, fine: Any, width: int, name: str) -> Any:
    """A map with the coarser one below it (Lin et al., CVPR 2017, feature pyramids)."""
    up = L.UpSampling2D(2, interpolation="nearest")(L.Conv2D(width, 1, name=f"{name}_up")(coarse))
    side = fine if fine.shape[-1] == width else L.Conv2D(width, 1, name=f"{name}_side")(fine)
    return _separable(L.Add()([up, side]), width, 1, 3, name)
