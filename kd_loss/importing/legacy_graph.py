"""Rebuilds a network of Keras 2 from the architecture in its file, to compare predictions.

Keras 3 does not load such a file if it has depthwise convolutions. Here every layer is rebuilt from a
list of known kinds with known settings, and its sizes are those of its weights: nothing in the file is
executed, and a layer of any other kind is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kd_loss.importing.legacy_file import OldFile
from kd_loss.networks.input_scaling import layer_scaling
from kd_loss.system.errors import UserError, first_line

#: kinds of layers and their settings that affect a prediction
_CONVOLUTION = ("strides", "padding", "dilation_rate", "activation")
SETTINGS: dict[str, tuple[str, ...]] = {
    "Conv2D": _CONVOLUTION,
    "DepthwiseConv2D": _CONVOLUTION,
    "Dense": ("activation",),
    "BatchNormalization": ("axis", "epsilon", "center", "scale"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Activation": ("activation",),
    "ZeroPadding2D": ("padding",),
    "Rescaling": ("scale", "offset"),
    "Normalization": ("axis", "mean", "variance"),
    "GlobalAveragePooling2D": ("keepdims",),
    "Reshape": ("target_shape",),
    "Flatten": (),
    "Add": (),
    "Multiply": (),
}
#: layers without effect on a prediction
_NOTHING = ("Dropout", "SpatialDropout2D", "FixedDropout", "InputLayer")
_NETWORKS = ("Functional", "Model", "Sequential")
_ACTIVATIONS = ("linear", "relu", "relu6", "swish", "silu", "sigmoid", "tanh", "softmax")
#: numbers per image in a layer's output; the largest network here has 32 million at 1,024 pixels
_MAX_OUTPUT = 1 << 27


@dataclass(frozen=True)
class _Value:
    """A tensor, and the scale and offset (3,) from the input's pixels as long as nothing else was applied."""

    tensor: keras.KerasTensor
    scaling: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class OldNetwork:
    """A network of an old file.

    Attributes:
        model: images in the range of the file -> flat coordinates (B, 2K).
        scaling: scale and offset (3,) that the network itself applies to its images before the first
            convolution.
    """

    model: keras.Model
    scaling: tuple[np.ndarray, np.ndarray]


def input_size(file: OldFile) -> int | None:
    """The side of the input in pixels, None if the file states none; raises a `UserError` if it is not square RGB."""
    with _nonsense(file):
        shape = _input_shape(file.config)
    if shape is None or shape[1:3] == [None, None]:
        return None
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or type(shape[1]) is not int:
        raise UserError(f"{file.path} takes an input of {shape[1:]}, not square RGB images")
    return shape[1]


def _input_shape(node: Any) -> list[Any] | None:
    if isinstance(node, dict):
        for key in ("batch_input_shape", "batch_shape"):
            if isinstance(node.get(key), list):
                return node[key]
        node = list(node.values())
    if isinstance(node, list):
        return next((shape for shape in map(_input_shape, node) if shape is not None), None)
    return None


def rebuild(file: OldFile, size: int) -> OldNetwork:
    """Rebuild a whole model with its weights, for inputs (B, size, size, 3).

    Raises:
        UserError: it has a layer of an unknown kind, or its architecture is inconsistent.
    """
    with _nonsense(file):
        return _Builder(file).network(size)


@contextmanager
def _nonsense(file: OldFile) -> Iterator[None]:
    """Any error of an inconsistent architecture as one line with the file's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from None
    except Exception as error:  # Keras raises many types
        reason = first_line(error)
        raise UserError(f"the architecture in {file.path} cannot be rebuilt: {reason}") from None


class _Builder:
    def __init__(self, file: OldFile):
        self.config: Mapping[str, Any] = file.config or {}
        self.arrays = {layer.name: layer.arrays for layer in file.layers}
        self.scaling: tuple[np.ndarray, np.ndarray] | None = None

    def network(self, size: int) -> OldNetwork:
        inputs = keras.Input((size, size, 3))
        outputs = self._model(self.config, _Value(inputs, (np.ones(3), np.zeros(3))))
        if self.scaling is None:
            raise UserError("its first convolution takes not scaled images but something computed from them")
        return OldNetwork(keras.Model(inputs, keras.layers.Flatten()(outputs.tensor)), self.scaling)

    def _model(self, node: Mapping[str, Any], value: _Value) -> _Value:
        """The output of a network, which may be nested in another."""
        config = node["config"]
        layers = config if isinstance(config, list) else config["layers"]
        if node["class_name"] == "Sequential":
            for layer in layers:
                value = self._layer(layer, [value])
            return value
        if node["class_name"] not in _NETWORKS:
            raise UserError(f"it is a {_kind(node)}, not a network of layers")
        [entry], [exit_] = _references(config["input_layers"]), _references(config["output_layers"])
        values = {entry: value}
        waiting = [layer for layer in layers if _name(layer) != entry]
        while waiting:
            later = []
            for layer in waiting:
                sources = _sources(layer)
                if sources and all(name in values for name in sources):
                    values[_name(layer)] = self._layer(layer, [values[name] for name in sources])
                else:
                    later.append(layer)
            if len(later) == len(waiting):
                raise UserError(f"its layer {_name(later[0])!r} has no input")
            waiting = later
        return values[exit_]

    def _layer(self, node: Mapping[str, Any], values: Sequence[_Value]) -> _Value:
        kind = _kind(node)
        if kind in _NOTHING:
            return values[0]
        if kind in _NETWORKS:
            [value] = values
            return self._model(node, value)
        if kind not in SETTINGS:
            what = "holds code" if kind == "Lambda" else "is not known here"
            raise UserError(f"its layer {_name(node)!r} is a {kind}, which {what}; code from a file is never run")
        if node["config"].get("data_format", "channels_last") not in ("channels_last", None):
            raise UserError(f"its layer {_name(node)!r} is channels-first")
        arrays = self.arrays.get(_name(node), {})
        tensors = [value.tensor for value in values]
        if "kernel" in arrays and tensors[0].shape[-1] != arrays["kernel"].shape[-2]:
            raise UserError(f"its layer {_name(node)!r} has weights for a different number of channels")
        layer = getattr(keras.layers, kind)(**_settings(node, arrays))
        output = layer(tensors if kind in ("Add", "Multiply") else tensors[0])
        if math.prod(output.shape[1:]) > _MAX_OUTPUT:
            raise UserError(
                f"its layer {_name(node)!r} returns {output.shape[1:]}, larger than in any supported network"
            )
        if layer.weights:
            layer.set_weights([arrays[weight.name] for weight in layer.weights])
            if kind == "Normalization":
                layer.finalize_state()
        scaling = values[0].scaling
        if kind == "Conv2D" and self.scaling is None:
            self.scaling = scaling
        if scaling and kind in ("Rescaling", "Normalization"):
            scale, offset = layer_scaling(layer)
            return _Value(output, (scale * scaling[0], scale * scaling[1] + offset))
        return _Value(output, scaling if kind == "ZeroPadding2D" else None)


def _kind(node: Mapping[str, Any]) -> str:
    return str(node["class_name"]).rpartition(">")[2][:40]  # a registered class is called package>name


def _name(node: Mapping[str, Any]) -> str:
    return str(node["config"]["name"] if isinstance(node["config"], dict) else node.get("name"))


def _settings(node: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A layer's settings: sizes from its weights, the others from the file."""
    kind, config = _kind(node), node["config"]
    settings = {key: config[key] for key in SETTINGS[kind] if config.get(key) is not None}
    if "activation" in settings:
        settings["activation"] = _activation(settings["activation"], _name(node))
    if isinstance(settings.get("axis"), list) and len(settings["axis"]) == 1 and kind == "BatchNormalization":
        [settings["axis"]] = settings["axis"]
    if kind in ("Conv2D", "DepthwiseConv2D", "Dense"):
        if "kernel" not in arrays:
            raise UserError(f"its layer {_name(node)!r} has no weights in the file")
        *side, _, filters = arrays["kernel"].shape
        settings["use_bias"] = "bias" in arrays
        if kind == "Dense":
            settings["units"] = filters
            if settings.get("activation", "linear") != "linear":
                raise UserError(f"its head {_name(node)!r} ends in a {settings['activation']}, not linearly")
        else:
            settings["kernel_size"] = side
            settings["filters" if kind == "Conv2D" else "depth_multiplier"] = filters
    return settings


def _activation(value: Any, layer: str) -> str:
    name = value.get("config") if isinstance(value, dict) else value
    if name not in _ACTIVATIONS:
        raise UserError(f"its layer {layer!r} has the activation {str(name)[:40]!r}, which is not supported")
    return str(name)


def _sources(node: Mapping[str, Any]) -> list[str]:
    """The input layers of a layer."""
    calls = node.get("inbound_nodes", [])
    if len(calls) > 1:
        raise UserError(f"its layer {_name(node)!r} is used {len(calls)} times")
    return _references(calls)


def _references(node: Any) -> list[str]:
    """Names of layers in `[name, node, tensor, …]` (Keras 2) or in `keras_history` (Keras 3), however nested."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            return _references(node["config"]["keras_history"])
        return _references(list(node.values()))
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str):
            return [node[0]]
        return [name for child in node for name in _references(child)]
    return []
