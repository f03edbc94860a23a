"""The backbones of networks for RGB images of 0…255: their list and construction."""

from __future__ import annotations

import difflib
from functools import partial

import keras

from kd_loss.networks.applications import applications
from kd_loss.networks.architecture import Architecture
from kd_loss.networks.dynamic import dynamic_mobilenet_v2
from kd_loss.networks.efficientnet_lite import VARIANTS, efficientnet_lite
from kd_loss.networks.kerashub import PREFIX, preset_architecture
from kd_loss.networks.size_limits import check_count
from kd_loss.networks.stages import FEATURE_MAPS as FEATURE_MAPS
from kd_loss.networks.unets import hourglass, squeeze_unet
from kd_loss.system.errors import UserError, choose

PRETRAINED = ("none", "imagenet", "noisy-student", "preset")

_EFFICIENT = {
    f"efficientNetB{i}": Architecture(
        getattr(keras.applications, f"EfficientNetB{i}"), None, False, 0.5, pretrained=("imagenet", "noisy-student")
    )
    for i in range(8)
}

#: those named in help and errors, the user's own, and all of `keras.applications` by their names in Keras
ARCHITECTURES: dict[str, Architecture] = {
    "mobileNetV2": Architecture(keras.applications.MobileNetV2, (1 / 127.5, -1.0), True, 0.0),
    "efficientNet": _EFFICIENT["efficientNetB3"],
    **_EFFICIENT,
    **{
        f"efficientNetLite{i}": Architecture(partial(efficientnet_lite, i), (1 / 128, -127 / 128), False, 0.0)
        for i in VARIANTS
    },
    "dynamicMobileNetV2": Architecture(dynamic_mobilenet_v2, (1 / 127.5, -1.0), True, 0.0, pretrained=()),
    "hourglass": Architecture(hourglass, (1 / 255, 0.0), True, 0.0, own_maps=True, pretrained=()),
    "squeezeUNet": Architecture(squeeze_unet, (1 / 255, 0.0), True, 0.0, own_maps=True, pretrained=()),
    **{
        name: entry
        for name, entry in applications().items()
        if name != "MobileNetV2" and f"e{name[1:]}" not in _EFFICIENT
    },
}
_WORDS = (
    "mobileNetV2, dynamicMobileNetV2, efficientNet (B3), efficientNetB0…B7, efficientNetLite0…2, hourglass, "
    "squeezeUNet, any other network of keras.applications, kerashub:PRESET, and one of your own by --plugin FILE"
)


def arch_name(arch: str) -> str:
    """An architecture's name as written in cards; ignores case.

    Raises:
        UserError: the name is unknown; the message suggests the nearest one.
    """
    if arch.lower().startswith(PREFIX):
        return PREFIX + arch[len(PREFIX) :]
    try:
        return choose(arch, ARCHITECTURES, "architecture")
    except UserError:
        folded = {name.lower(): name for name in ARCHITECTURES}
        near = difflib.get_close_matches(arch.lower(), list(folded), n=1)
        hint = f"did you mean '{folded[near[0]]}'? " if near else ""
        raise UserError(f"unknown architecture '{arch}': {hint}valid: {_WORDS}") from None


def is_known(arch: object) -> bool:
    """Whether a value is the name of an architecture."""
    try:
        return isinstance(arch, str) and bool(arch_name(arch))
    except UserError:
        return False


def get_architecture(arch: str) -> Architecture:
    """The architecture of that name; raises a `UserError` if it is unknown or KerasHub is not installed."""
    name = arch_name(arch)
    return preset_architecture(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else ARCHITECTURES[name]


def build_backbone(arch: str, inputs: keras.KerasTensor, alpha: float, pretrained: str) -> keras.Model:
    """Build an architecture on RGB 0…255 `inputs` (B, S, S, 3); its output is its last feature map (B, h, w, C).

    Args:
        arch: name of the architecture.
        inputs: images (B, S, S, 3), RGB 0…255.
        alpha: width multiplier, 0.1…2; 1 for architectures without one.
        pretrained: `none`; `imagenet` (downloaded by Keras, or from a package for EfficientNet-Lite); `noisy-student`
            (EfficientNet only, downloaded by the `efficientnet` package); `preset`, the weights of a KerasHub preset.

    Raises:
        UserError: the architecture is unknown, has no such weights, or they cannot be obtained.
    """
    name, architecture = arch_name(arch), get_architecture(arch)
    pretrained = choose(pretrained, PRETRAINED, "pretrained weights")
    if alpha != 1.0 and not architecture.has_alpha:
        raise UserError(f"{name} has no width multiplier; remove --alpha")
    if not 0.1 <= alpha <= 2:
        raise UserError(f"--alpha {alpha} is not between 0.1 and 2")
    if pretrained != "none" and pretrained not in architecture.pretrained:
        raise UserError(_no_weights(name, architecture, pretrained))
    options = {"alpha": alpha} if architecture.has_alpha else {}
    pixels = inputs
    if architecture.scaling:
        scale, offset = architecture.scaling
        pixels = keras.layers.Rescaling(scale, offset, name="input_scaling")(inputs)
    weights = pretrained if pretrained in ("imagenet", "preset") else None
    try:
        backbone = architecture.build(input_tensor=pixels, include_top=False, weights=weights, **options)
    except UserError:
        raise
    except ValueError as error:
        # no weights are published for this alpha or size
        raise UserError(f"{name}: {str(error).splitlines()[0]}") from None
    except Exception as error:
        if weights is None:
            raise
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"the {weights} weights of {name} cannot be downloaded ({reason}); remove --pretrained"
        ) from None
    check_count(name, backbone)
    if pretrained == "noisy-student":
        from kd_loss.networks.efficientnet_package import load_noisy_student

        load_noisy_student(backbone, name)
    return backbone


def _no_weights(name: str, architecture: Architecture, weights: str) -> str:
    if weights == "noisy-student":
        return f"noisy-student weights exist for EfficientNet only, not for {name}"
    if architecture.pretrained:
        return f"{name} has no {weights} weights; give --pretrained {' or '.join(architecture.pretrained)}"
    return f"there are no pretrained weights of {name}; remove --pretrained"
