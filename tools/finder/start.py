"""The weights of a finder's file as the start of another training.

A file for use has its batch normalisations folded into its convolutions. They are restored with the statistics of
training images, so that the network answers as its file does and learns as a network in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.system.errors import UserError


def start_from(model: keras.Model, path: Path, pictures: np.ndarray) -> None:
    """Give a network of `build_finder` the weights of a written finder (`.onnx`).

    Args:
        model: of `build_finder`.
        path: `.onnx` of such a network.
        pictures: (N, S, S, 3), training images whose statistics the normalisations get.

    Raises:
        UserError: a file that is not such a finder.
    """
    try:
        _restore(model, path)
    except (KeyError, ValueError, StopIteration, IndexError):
        raise UserError(f"{path} is not a finder's .onnx") from None
    _statistics(model, pictures)


def _restore(model: keras.Model, path: Path) -> None:
    """Set the convolutions of a model from a file's; raises KeyError or ValueError where the two differ."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    convolutions = {
        layer.name: layer
        for layer in model.layers
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
    }
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        kernel = values[node.input[1]]
        scale, shift = np.ones(len(kernel)), np.zeros(len(kernel))
        if len(node.input) > 2:
            shift = shift + values[node.input[2]]
        last = node
        while len(users.get(last.output[0], [])) == 1:
            after = users[last.output[0]][0]
            constant = [values[name] for name in after.input if name in values]
            if after.op_type not in ("Mul", "Add") or not constant:
                break
            value = constant[0].reshape(-1)
            scale, shift = (scale * value, shift * value) if after.op_type == "Mul" else (scale, shift + value)
            last = after
        kernel = kernel * scale[:, None, None, None]
        # the exporter writes a layer's name between slashes, with "_1" behind it
        parts = f"{node.name}/{node.input[1]}".replace(" ", "/").split("/")
        layer = convolutions.pop(next((part[:-2] for part in parts if part[:-2] in convolutions), node.name))
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        kernel = kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        if layer.use_bias:
            layer.set_weights([kernel, shift])
            continue
        layer.set_weights([kernel])
        norm = model.get_layer(f"{layer.name}_norm")
        ones, zeros = np.ones_like(shift), np.zeros_like(shift)
        norm.set_weights([ones, shift, zeros, ones - norm.epsilon])
    if convolutions:
        raise KeyError(f"no {next(iter(convolutions))}")


def _statistics(model: keras.Model, pictures: np.ndarray) -> None:
    """Give each normalisation the mean and variance of what it sees; the network computes what it did."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    seen = keras.Model(model.inputs, [layer.input for layer in norms])
    sums = [[0.0, 0.0, 0] for _ in norms]
    for start in range(0, len(pictures), 16):
        for total, values in zip(sums, seen.predict_on_batch(pictures[start : start + 16]), strict=True):
            flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
            total[0], total[1], total[2] = total[0] + flat.sum(0), total[1] + (flat**2).sum(0), total[2] + len(flat)
    for norm, (first, second, count) in zip(norms, sums, strict=True):
        mean = first / count
        variance = np.maximum(second / count - mean**2, 1e-4)
        _, beta, _, _ = norm.get_weights()
        norm.set_weights([np.sqrt(variance + norm.epsilon), beta + mean, mean, variance])
