"""The convolutional part of a network, from `keras.applications` or `unets`, for RGB pictures of 0…255."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from kd_loss.networks.unets import hourglass, squeeze_unet
from kd_loss.system.errors import UserError, choose

PRETRAINED = ("none", "imagenet", "noisy-student")
#: name of a feature map -> how many times smaller than the input it is
FEATURE_MAPS = {f"P{n}": 2**n for n in (2, 3, 4, 5)}


@dataclass(frozen=True)
class Architecture:
    """A backbone's constructor, the input scaling that it expects outside itself, and its options.

    Attributes:
        build: a function of `keras.applications`, or of the same form.
        scaling: (scale, offset) applied to 0…255 pixels before it, or None where it scales itself.
        has_alpha: whether it has a width multiplier.
        dropout: the share of the embedding that is dropped in training, by default.
        own_maps: whether its output is as fine as heatmaps have to be: a head needs no decoder, and it is not cut.
    """

    build: Callable[..., keras.Model]
    scaling: tuple[float, float] | None
    has_alpha: bool
    dropout: float
    own_maps: bool = False


_EFFICIENT = {
    f"efficientNetB{i}": Architecture(getattr(keras.applications, f"EfficientNetB{i}"), None, False, 0.5)
    for i in range(8)
}

ARCHITECTURES: dict[str, Architecture] = {
    "mobileNetV2": Architecture(keras.applications.MobileNetV2, (1 / 127.5, -1.0), True, 0.0),
    "efficientNet": _EFFICIENT["efficientNetB3"],
    **_EFFICIENT,
    "hourglass": Architecture(hourglass, (1 / 255, 0.0), True, 0.0, own_maps=True),
    "squeezeUNet": Architecture(squeeze_unet, (1 / 255, 0.0), True, 0.0, own_maps=True),
}


def build_backbone(arch: str, inputs: keras.KerasTensor, alpha: float, pretrained: str) -> keras.Model:
    """An architecture on RGB 0…255 `inputs` (B, S, S, 3), whose output is its last feature map (B, h, w, C).

    `pretrained` is `none`, `imagenet` (downloaded by Keras) or `noisy-student` (EfficientNet only,
    downloaded by the `efficientnet` package). `UserError` where the weights cannot be had.
    """
    architecture = ARCHITECTURES[choose(arch, ARCHITECTURES, "architecture")]
    pretrained = choose(pretrained, PRETRAINED, "pretrained weights")
    if alpha != 1.0 and not architecture.has_alpha:
        raise UserError(f"{arch} has no width multiplier; leave --alpha out")
    if not 0.1 <= alpha <= 2:
        raise UserError(f"--alpha {alpha} is not between 0.1 and 2")
    if architecture.own_maps and pretrained != "none":
        raise UserError(f"there are no pretrained weights of {arch}; leave --pretrained out")
    options = {"alpha": alpha} if architecture.has_alpha else {}
    pixels = inputs
    if architecture.scaling:
        scale, offset = architecture.scaling
        pixels = keras.layers.Rescaling(scale, offset, name="input_scaling")(inputs)
    weights = "imagenet" if pretrained == "imagenet" else None
    try:
        backbone = architecture.build(input_tensor=pixels, include_top=False, weights=weights, **options)
    except ValueError as error:
        # alpha or size for which no weights are published
        raise UserError(f"{arch}: {str(error).splitlines()[0]}") from None
    except Exception as error:
        if weights is None:
            raise
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"the imagenet weights of {arch} cannot be downloaded ({reason}); leave --pretrained out"
        ) from None
    if pretrained == "noisy-student":
        from kd_loss.networks.efficientnet_package import load_noisy_student

        load_noisy_student(backbone, arch)
    return backbone


def last_maps(backbone: keras.Model, size: int) -> dict[str, keras.Layer]:
    """`P2` … `P5` -> the layer with the last, richest map of that resolution."""
    found = {}
    for name, stride in FEATURE_MAPS.items():
        side = -(-size // stride)
        for layer in backbone.layers:
            shape = layer.output.shape
            if len(shape) == 4 and shape[1] == side and "pad" not in layer.name:
                found[name] = layer
    return found


def stage_outputs(backbone: keras.Model, size: int) -> dict[str, keras.Layer]:
    """`P2` … `P5` -> the layer that ends the stage of that resolution, where a network can be cut.

    These are the sums of the residual blocks (`block_12_add`), narrower than the maps of `last_maps`, which belong
    to the expansion of the next stage already; the coarsest is the backbone's own output. A backbone without residual
    blocks is cut at its last maps.
    """
    found = last_maps(backbone, size)
    for name, stride in FEATURE_MAPS.items():
        side = -(-size // stride)
        for layer in backbone.layers:
            if layer.name.endswith("add") and layer.output.shape[1] == side:
                found[name] = layer
    return {**found, "P5": backbone.layers[-1]}
