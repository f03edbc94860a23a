"""Rebuilds a functional model, layer by layer, on another tensor, from layers that files can hold.

Keras's `.h5` files cannot store operations such as the `+` between two tensors, nor Keras's private layers
(`LayerScale` of ConvNeXt), and ONNX has no grouped convolutions of TensorFlow: equivalent named layers replace them.
Names that Keras numbers are renumbered in each model, so that the layers of two networks of one architecture have the
same names.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import keras
import numpy as np

from kd_loss.system.errors import UserError

L = keras.layers

_Tensor = Any
#: operations on one tensor -> the equivalent activation
_ACTIVATIONS = {
    **{"Relu": "relu", "Relu6": "relu6", "Silu": "silu", "Gelu": "gelu", "Sigmoid": "sigmoid", "Tanh": "tanh"},
    **{"HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "LeakyRelu": "leaky_relu"},
}
_MERGES = {"Add": L.Add, "Multiply": L.Multiply, "Subtract": L.Subtract, "Maximum": L.Maximum}


def graft(model: keras.Model, inputs: _Tensor, what: str) -> keras.Model:
    """A copy of a functional model on `inputs` (B, S, S, C), layer by layer, with its weights.

    Calling the model on `inputs` would make it a single layer, with its feature maps out of reach.

    Raises:
        UserError: the model is not a functional model of one image of this shape; the message starts with `what`.
    """
    entries = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if len(entries) != 1 or not getattr(model, "operations", ()):
        raise UserError(f"{what} is not a functional model with one image as input; its feature maps cannot be found")
    [entry] = entries
    if len(entry.shape) != 4 or any(a not in (None, b) for a, b in zip(entry.shape, inputs.shape, strict=True)):
        raise UserError(f"{what} takes images {tuple(entry.shape)[1:]}, but is given {tuple(inputs.shape)[1:]}")
    copy = _Copy(entry, inputs)
    try:
        # given tensors that are not inputs, Keras builds a model on its own inputs: only the calls count
        given = keras.tree.map_structure(lambda _: inputs, model.input)
        keras.models.clone_model(model, given, clone_function=lambda op: op, call_function=copy.call)
        output = keras.tree.map_structure(lambda tensor: copy.made[id(tensor)], model.output)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"{what} cannot be applied to a new input: {reason}") from None
    if isinstance(output, list) and len(output) == 1:
        [output] = output
    return keras.Model(keras.utils.get_source_inputs(inputs), output, name=re.sub(r"[^\w.-]", "_", model.name))


class _Copy:
    """Rebuilds the layers, one call after the other.

    Attributes:
        made: id of a tensor of the old model -> the new one.
    """

    def __init__(self, entry: _Tensor, inputs: _Tensor):
        self.made: dict[int, _Tensor] = {id(entry): inputs}
        self._counts: Counter[str] = Counter()
        self._copies: dict[int, keras.Layer] = {}

    def call(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply the copy of `op` to new tensors."""
        outputs = self._outputs(op, *args, **kwargs)
        # the first call of the old layer with its inputs made and its output not yet made
        made = self.made
        node = next(
            node
            for node in op._inbound_nodes
            if all(id(t) in made for t in node.input_tensors) and id(node.output_tensors[0]) not in made
        )
        for old, new in zip(node.output_tensors, keras.tree.flatten(outputs), strict=True):
            self.made[id(old)] = new
        return outputs

    def _outputs(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        name = self._name(op)
        if not isinstance(op, keras.Layer):
            return _as_layer(op, name, args, kwargs)
        kind = type(op).__name__
        if kind == "LayerScale":
            layer = L.DepthwiseConv2D(1, use_bias=False, name=name)
            outputs = layer(*args)
            layer.set_weights([op.get_weights()[0].reshape(layer.kernel.shape)])
            return outputs
        if kind == "CustomScaleLayer":  # of Inception-ResNet
            straight, branch = args[0]
            return L.Add(name=name)([straight, L.Rescaling(op.scale, name=f"{name}_scale")(branch)])
        if kind == "Normalization" and op.input_mean is not None and not op.invert:
            # fixed numbers, which ONNX would take for inputs
            deviation = np.sqrt(np.asarray(op.input_variance, np.float64))
            scale = 1 / np.maximum(deviation, keras.backend.epsilon())
            offset = -np.asarray(op.input_mean, np.float64) * scale
            return L.Rescaling(scale.tolist(), offset.tolist(), name=name)(*args)
        if kind == "Conv2D" and op.groups > 1 and op.groups == op.filters == args[0].shape[-1]:
            return self._depthwise(op, name, args[0])
        layer = self._copies.get(id(op))
        if layer is not None:
            return layer(*args, **kwargs)
        layer = self._copies[id(op)] = type(op).from_config({**op.get_config(), "name": name})
        outputs = layer(*args, **kwargs)
        if weights := op.get_weights():
            layer.set_weights(weights)
        return outputs

    def _depthwise(self, op: keras.layers.Conv2D, name: str, x: _Tensor) -> _Tensor:
        """A convolution of as many groups as channels (ConvNeXt): TensorFlow computes it by XLA, ONNX not at all."""
        if (layer := self._copies.get(id(op))) is None:
            same = {key: getattr(op, key) for key in ("strides", "padding", "dilation_rate", "use_bias", "activation")}
            layer = self._copies[id(op)] = L.DepthwiseConv2D(op.kernel_size, name=name, **same)
            layer.build(x.shape)
            kernel, *bias = op.get_weights()
            layer.set_weights([kernel.transpose(0, 1, 3, 2), *bias])
        return layer(x)

    def _name(self, op: Any) -> str:
        """The name of the copy: one that Keras numbered is renumbered within this model."""
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(op).__name__).lower()
        if not re.fullmatch(rf"({re.escape(snake)}|re_lu|add|multiply)(_\d+)?", op.name):
            return str(op.name)
        self._counts[snake] += 1
        return f"the_{snake}_{self._counts[snake]}"


def _as_layer(op: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation on tensors as a layer; the operation itself if no layer matches it."""
    kind, values = type(op).__name__, [*args, *kwargs.values()]
    tensors = [value for value in values if isinstance(value, keras.KerasTensor)]
    if kind in _MERGES and len(values) == len(tensors) == 2:
        return _MERGES[kind](name=name)(tensors)
    if kind in _ACTIVATIONS and len(values) == 1:
        return L.Activation(_ACTIVATIONS[kind], name=name)(values[0])
    if kind == "Concatenate":
        return L.Concatenate(axis=op.axis, name=name)(values[0])
    if len(values) == 2 and len(tensors) == 1 and kind in ("Add", "Subtract", "Multiply", "Divide", "TrueDivide"):
        number = np.asarray(next(value for value in values if not isinstance(value, keras.KerasTensor)), np.float64)
        first = isinstance(values[0], keras.KerasTensor)
        scale, offset = {
            "Add": (1.0, number),
            "Subtract": (1.0, -number) if first else (-1.0, number),
            "Multiply": (number, 0.0),
        }.get(kind, (1 / number, 0.0) if first else (None, 0.0))
        if scale is not None:
            return L.Rescaling(np.asarray(scale).tolist(), np.asarray(offset).tolist(), name=name)(tensors[0])
    return op(*args, **kwargs)
