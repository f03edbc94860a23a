"""Recognition networks: IR-ResNets, with a landmark network's maps integrated or not, and a small MobileFaceNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras

from kd_loss.networks.dynamic import EXPERTS, DynamicConv2D, routing
from kd_loss.recognition.card import RecogniserCard
from kd_loss.recognition.layers import adapted, batch_norm, integrate, prelu, resized
from kd_loss.system.errors import UserError

L = keras.layers
Tensor = Any

#: channels of the four stages at width 1
CHANNELS = (64, 128, 256, 512)
#: groups of the variant of dynamic convolutions with groups
GROUPS = 2
#: MobileFaceNet's bottlenecks: expansion, channels, units, stride of the first
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def build_recogniser(card: RecogniserCard, seed: int = 0) -> keras.Model:
    """A recognition network with random weights.

    Its input is a dictionary: `image` (B, S, S, 3), RGB 0…255, and the maps of the card; its output too: `embedding`
    (B, D) of length 1, `features` (B, D) before that, and, of dynamic convolutions, `routing` (B, R), the weights of
    all experts at all positions.
    """
    keras.utils.set_random_seed(seed)
    inputs = {"image": keras.Input((card.size, card.size, 3), name="image")}
    inputs |= {name: keras.Input(tuple(shape), name=name) for name, shape in card.maps.items()}
    x = L.Rescaling(1 / 128, -127.5 / 128, name="scaled")(inputs["image"])
    routes: list[Tensor] = []
    if card.arch == "mobile":
        if card.integrated or card.dynamic != "none":
            raise UserError("mobile is a student's network: it takes no maps and has no dynamic convolutions")
        features = _mobile(x, card)
    else:
        features = _ir(x, inputs, card, routes)
    unit = L.UnitNormalization(axis=-1, name="embedding", dtype="float32")(features)
    outputs = {"embedding": unit, "features": features}
    if routes:
        outputs["routing"] = L.Concatenate(name="routing", dtype="float32")(routes) if len(routes) > 1 else routes[0]
    return keras.Model(inputs, outputs, name="recogniser")


def _ir(x: Tensor, inputs: Mapping[str, Tensor], card: RecogniserCard, routes: list[Tensor]) -> Tensor:
    """Stem, four stages and the head of an improved ResNet; `routes` receives the weights of the experts."""
    widths = [max(8, round(card.alpha * channels)) for channels in CHANNELS]
    heat = inputs.get("heatmaps")
    if card.heatmaps != "none":
        x = L.Concatenate(name="stacked")([x, resized(heat, card.size)])
    x = L.Conv2D(widths[0], 3, padding="same", use_bias=False, name="stem_conv")(x)
    x = prelu("stem_prelu")(batch_norm("stem_bn")(x))
    for stage, (channels, units) in enumerate(zip(widths, card.units, strict=True), start=1):
        inner = x.shape[-1]
        if card.heatmaps == "h2+":
            x = L.Concatenate(name=f"stage{stage}_stacked")([x, resized(heat, x.shape[1])])
        maps = None
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            dynamic = card.dynamic if stage > 1 else "none"
            x = _unit(x, inner if unit == 1 else channels, channels, 2 if unit == 1 else 1, name, dynamic, card, routes)
            last = unit == units
            if card.features == "none" or stage == len(widths) or not (last or card.features == "1m"):
                continue
            if maps is None:
                maps = adapted(inputs[nearest_map(card.maps, x.shape[1])], channels, f"stage{stage}_maps")
            many = card.features == "1m"
            x = integrate("bl" if many else card.features, x, maps, f"{name}_with", "zeros" if many else "ones")
    x = L.Dropout(card.dropout, name="dropout")(batch_norm("head_bn")(x))
    x = L.Dense(card.embedding, use_bias=False, name="head_dense")(L.Flatten(name="flat")(x))
    return batch_norm("features", scale=False)(x)


def _unit(
    x: Tensor, inner: int, channels: int, stride: int, name: str, dynamic: str, card: RecogniserCard,
    routes: list[Tensor],
) -> Tensor:  # fmt: skip
    """BN–conv–BN–PReLU–conv(stride)–BN, and a shortcut, with a convolution where the shape changes."""
    alpha = None
    if dynamic != "none":
        groups = GROUPS if dynamic == "group" else 1
        alpha = routing(x, EXPERTS, groups, card.temperature, f"{name}_route")
        routes.append(alpha)

    def convolution(y: Tensor, filters: int, strides: int, number: int) -> Tensor:
        if alpha is None:
            options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
            return L.Conv2D(filters, 3, strides, name=f"{name}_conv{number}", **options)(y)
        return DynamicConv2D(filters, 3, strides, EXPERTS, groups, name=f"{name}_conv{number}")([y, alpha])

    y = convolution(batch_norm(f"{name}_bn1")(x), inner, 1, 1)
    y = prelu(f"{name}_prelu")(batch_norm(f"{name}_bn2")(y))
    y = batch_norm(f"{name}_bn3")(convolution(y, channels, stride, 2))
    if stride > 1 or x.shape[-1] != channels:
        x = L.Conv2D(channels, 1, stride, use_bias=False, name=f"{name}_short_conv")(x)
        x = batch_norm(f"{name}_short_bn")(x)
    return L.Add(name=f"{name}_add")([x, y])


def _mobile(x: Tensor, card: RecogniserCard) -> Tensor:
    """MobileFaceNet (Chen et al., 2018): bottlenecks, then a depthwise convolution over the whole map."""

    def block(x: Tensor, layer: keras.Layer, name: str, active: bool = True) -> Tensor:
        x = batch_norm(f"{name}_bn")(layer(x))
        return prelu(f"{name}_prelu")(x) if active else x

    def conv(channels: int, name: str, size: int = 1, stride: int = 1) -> keras.Layer:
        return L.Conv2D(channels, size, stride, padding="same", use_bias=False, name=f"{name}_conv")

    def depthwise(name: str, size: int = 3, stride: int = 1, padding: str = "same") -> keras.Layer:
        return L.DepthwiseConv2D(size, stride, padding=padding, use_bias=False, name=f"{name}_conv")

    first = max(8, round(64 * card.alpha))
    # 112 px as published; smaller images keep their first resolution, so that as many cells reach the end
    x = block(x, conv(first, "stem", 3, 2 if card.size > 80 else 1), "stem")
    x = block(x, depthwise("stem_depth"), "stem_depth")
    for row, (expansion, channels, units, stride) in enumerate(BOTTLENECKS):
        channels = max(8, round(channels * card.alpha))
        for unit in range(units):
            name, start = f"block{row}_{unit}", x
            x = block(x, conv(x.shape[-1] * expansion, f"{name}_expand"), f"{name}_expand")
            x = block(x, depthwise(f"{name}_depth", stride=stride if unit == 0 else 1), f"{name}_depth")
            x = block(x, conv(channels, f"{name}_project"), f"{name}_project", active=False)
            if x.shape == start.shape:
                x = L.Add(name=f"{name}_add")([start, x])
    x = block(x, conv(max(8, round(512 * card.alpha)), "last"), "last")
    x = block(x, depthwise("global", x.shape[1], padding="valid"), "global", active=False)
    x = L.Dense(card.embedding, use_bias=False, name="head_dense")(L.Flatten(name="flat")(x))
    return batch_norm("features", scale=False)(x)


def nearest_map(maps: Mapping[str, Any], size: int) -> str:
    """The feature map, out of tap -> (h, w, C), whose resolution is nearest to `size`; the first of equal ones."""
    return min((name for name in maps if name != "heatmaps"), key=lambda name: abs(math.log2(maps[name][0] / size)))
