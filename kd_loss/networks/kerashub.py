"""Backbones from presets of KerasHub, if it is installed: `kerashub:resnet_18_imagenet`.

A preset is a KerasHub name, which KerasHub downloads, or a folder written by `save_to_preset`. It includes its input
scaling, which becomes part of the network. KerasHub is imported when a preset, or a file of one, is loaded.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from kd_loss.networks.architecture import Architecture
from kd_loss.networks.graft import graft
from kd_loss.system.errors import UserError

PREFIX = "kerashub:"

_Tensor = Any


def import_kerashub() -> Any:
    """Import `keras_hub`, which files of its networks need; raises a `UserError` if it is not installed."""
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(
            f"--arch {PREFIX}… needs KerasHub, which does not import ({error}): pip install keras-hub"
        ) from None
    return keras_hub


def preset_architecture(preset: str) -> Architecture:
    """The architecture of a preset: a KerasHub name or a folder."""
    if not preset:
        raise UserError(f"--arch {PREFIX} needs a preset: {PREFIX}resnet_18_imagenet, or a folder of one")
    return Architecture(partial(_build, preset), None, has_alpha=False, dropout=0.0, pretrained=("preset",))


def _build(preset: str, input_tensor: _Tensor, weights: str | None = None, **_: Any) -> keras.Model:
    """Build the backbone of a preset on RGB 0…255 (B, S, S, 3), with its input scaling in front."""
    hub = import_kerashub()
    shape = tuple(input_tensor.shape[1:])
    try:
        backbone = hub.models.Backbone.from_preset(preset, load_weights=weights is not None, image_shape=shape)
        converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # hub, network and file errors have many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"--arch {PREFIX}{preset}: KerasHub has no such image backbone: {reason}") from None
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    pixels = keras.layers.Rescaling(scale, offset, name="input_scaling")(input_tensor)
    return graft(backbone, pixels, f"{PREFIX}{preset}")
