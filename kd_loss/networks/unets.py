"""Networks that end in maps as fine as their input: the hourglass of the First-Order Motion Model and Squeeze U-Net.

Both see the image at an *inner* resolution: it is smoothed and subsampled until its side is below 128 pixels
(256 px by 4, to 64), and both return `MAPS` maps of that resolution. They are built from Keras's own layers.

Sources: `modules/util.py` and `modules/keypoint_detector.py` of first-order-model (Siarohin et al., NeurIPS 2019; MIT);
Beheshti & Johnsson, "Squeeze U-Net", CVPR workshops 2020; the fires of SqueezeNet 1.1 (Iandola et al., 2016).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kd_loss.system.errors import UserError

L = keras.layers

#: channels of the last map at width 1: the decoder's 32 and, in the hourglass, the image's 3
MAPS = 35
#: the name of the last layer of the encoder; the attention of L3 compares its output
ENCODER = "encoder"
#: the name of the layer that subsamples images; its fixed weights differ by size
ANTI_ALIAS = "anti_alias"
_HALVINGS = {"hourglass": 5, "squeeze_unet": 4}

_Tensor = Any


def subsampling(size: int) -> int:
    """The factor by which an image's side is subsampled before these networks: 4 for 256 px, 1 below 128.

    >>> subsampling(256), subsampling(128), subsampling(112), subsampling(64)
    (4, 2, 1, 1)
    """
    return max(1, size // 64)


def anti_alias(pixels: _Tensor, factor: int) -> _Tensor:
    """Smooth images (B, S, S, 3) by a Gaussian and subsample them to (B, S/factor, S/factor, 3).

    σ = (factor − 1) / 2 and 2·round(4σ) + 1 taps (1.5 and 13 for 4), zeros beyond the border, every factor-th pixel
    from the first one: as published.
    """
    if factor == 1:
        return pixels
    sigma = (factor - 1) / 2
    half = int(4 * sigma + 0.5)
    tap = np.exp(-np.square(np.arange(-half, half + 1)) / (2 * sigma**2))
    kernel = np.outer(tap, tap) / np.square(tap.sum())
    layer = L.DepthwiseConv2D(2 * half + 1, factor, padding="valid", use_bias=False, trainable=False, name=ANTI_ALIAS)
    x = L.ZeroPadding2D(half, name="anti_alias_pad")(pixels)
    y = layer(x)
    layer.set_weights([np.repeat(kernel[..., None, None], 3, axis=2).astype(np.float32)])
    return y


def _inner(name: str, pixels: _Tensor) -> _Tensor:
    """The image at its inner resolution; raises a `UserError` if it cannot be halved often enough."""
    size = int(pixels.shape[1])
    factor = subsampling(size)
    step = factor * 2 ** _HALVINGS[name]
    if size % step:
        raise UserError(
            f"{name} halves its {size // factor} pixels {_HALVINGS[name]} times; give --size 64, 128 or 256"
        )
    return anti_alias(pixels, factor)


def _scaled(channels: int, alpha: float) -> int:
    return max(8, round(channels * alpha / 8) * 8)


def _normalised(x: _Tensor, name: str) -> _Tensor:
    x = L.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
    return L.ReLU(name=f"{name}_relu")(x)


def hourglass(input_tensor: _Tensor, alpha: float = 1.0, **_: Any) -> keras.Model:
    """Maps (B, s, s, 32·alpha + 3) of images (B, S, S, 3) in 0…1; 14.13 million parameters at width 1.

    Five times 3 × 3 convolution, batch normalisation, ReLU, average pooling (64, 128, 256, 512, 1024 channels), five
    times nearest ×2, 3 × 3 convolution, batch normalisation, ReLU (512, 256, 128, 64, 32), each joined with the
    encoder's map of its size, the last with the image.
    """
    x = pixels = _inner("hourglass", input_tensor)
    skips = []
    for level, channels in enumerate((64, 128, 256, 512, 1024), 1):
        skips.append(x)
        name = f"down{level}"
        x = L.Conv2D(_scaled(channels, alpha), 3, padding="same", name=name)(x)
        x = L.AveragePooling2D(2, name=ENCODER if level == 5 else f"{name}_pool")(_normalised(x, name))
    for level, channels in zip((5, 4, 3, 2, 1), (512, 256, 128, 64, 32), strict=True):
        name = f"up{level}"
        x = L.UpSampling2D(2, name=f"{name}_nearest")(x)
        x = L.Conv2D(_scaled(channels, alpha), 3, padding="same", name=name)(x)
        x = L.Concatenate(name="own_maps" if level == 1 else f"{name}_join")([_normalised(x, name), skips.pop()])
    assert x.shape[1] == pixels.shape[1]
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="hourglass")


def _fire(x: _Tensor, name: str, squeeze: int, expand: int, last: str = "") -> _Tensor:
    """1 × 1 to `squeeze` channels, from there 1 × 1 and 3 × 3 to `expand` each, joined (B, h, w, 2·expand)."""
    x = L.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze")(x)
    wide = L.Conv2D(expand, 3, padding="same", name=f"{name}_expand3")(x)
    x = L.Concatenate(name=f"{name}_join")([L.Conv2D(expand, 1, name=f"{name}_expand1")(x), wide])
    x = L.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
    return L.ReLU(name=last or f"{name}_relu")(x)


def squeeze_unet(input_tensor: _Tensor, alpha: float = 1.0, **_: Any) -> keras.Model:
    """Maps (B, s, s, 35) of images (B, S, S, 3) in 0…1; 2.51 million parameters at width 1.

    The encoder of SqueezeNet 1.1 (its output is s/16 × s/16 × 512) and its mirror image by transposed convolutions.
    Batch normalisation after each fire is this package's (SqueezeNet has none); its 6,784 scales and offsets bring the
    count from 2.504 to the published 2.51 million.
    """

    def width(channels: int) -> int:
        return _scaled(channels, alpha)

    def fire(x: _Tensor, name: str, squeeze: int, expand: int, last: str = "") -> _Tensor:
        return _fire(x, name, width(squeeze), width(expand), last)

    def up(x: _Tensor, level: int, channels: int, stride: int, skip: _Tensor) -> _Tensor:
        deconvolution = L.Conv2DTranspose(width(channels), 3, stride, padding="same", name=f"up{level}_deconv")
        return L.Concatenate(name=f"up{level}_skip")([deconvolution(x), skip])

    x = _inner("squeeze_unet", input_tensor)
    half = L.Conv2D(width(64), 3, 2, padding="same", activation="relu", name="conv1")(x)
    quarter = L.MaxPooling2D(3, 2, padding="same", name="pool1")(half)
    x = fire(fire(quarter, "fire2", 16, 64), "fire3", 16, 64)
    eighth = L.MaxPooling2D(3, 2, padding="same", name="pool3")(x)
    fire5 = fire(fire(eighth, "fire4", 32, 128), "fire5", 32, 128)
    sixteenth = L.MaxPooling2D(3, 2, padding="same", name="pool5")(fire5)
    fire7 = fire(fire(sixteenth, "fire6", 48, 192), "fire7", 48, 192)
    x = fire(fire(fire7, "fire8", 64, 256), "fire9", 64, 256, last=ENCODER)
    x = fire(up(x, 4, 192, 1, fire7), "fire10", 48, 192)
    x = fire(up(x, 3, 128, 1, sixteenth), "fire11", 32, 128)
    x = fire(up(x, 2, 64, 2, eighth), "fire12", 16, 64)
    x = fire(up(x, 1, 32, 2, quarter), "fire13", 16, 32)
    x = L.Concatenate(name="up0_skip")([L.UpSampling2D(2, name="up0_nearest")(x), half])
    x = L.Conv2D(width(64), 3, padding="same", activation="relu", name="up0_conv")(x)
    x = L.Conv2D(MAPS, 1, name="own_maps")(L.UpSampling2D(2, name="up_nearest")(x))
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="squeeze_unet")
