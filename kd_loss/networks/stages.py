"""Finds where a backbone's stages end by the sizes of its maps in the functional graph, not by layer names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers as L

from kd_loss.system.errors import UserError

#: name of a feature map -> how many times smaller than the input it is
FEATURE_MAPS = {f"P{n}": 2**n for n in (2, 3, 4, 5)}

_FRAMES = (L.ZeroPadding2D, L.Cropping2D)
_STRIDED = (L.Conv2D, L.DepthwiseConv2D, L.SeparableConv2D, L.MaxPooling2D, L.AveragePooling2D)
_GLOBAL = (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D)
_ELEMENTWISE = (L.BatchNormalization, L.LayerNormalization, L.Activation, L.ReLU, L.LeakyReLU, L.PReLU, L.ELU)
_JOINS = ("Add", "Concatenate")

#: a layer, or an operation such as a `+` between two tensors: it has `name`, `input` and `output`
Operation = Any
_Tensor = Any


def operation(model: keras.Model, name: str) -> Operation:
    """The layer or operation of a functional model with that name; `get_layer` finds layers only.

    Raises:
        ValueError: the model has none.
    """
    for op in model.operations:
        if op.name == name:
            return op
    raise ValueError(f"no layer or operation '{name}'")


def last_maps(backbone: keras.Model) -> dict[str, Operation]:
    """`P2` … `P5` -> the layer with the last, richest map of that resolution.

    It is the last one on every path; if a network has none (each cell of NASNet uses the two before it), the end of
    the stage, see `stage_outputs`. A backbone that returns a dictionary names its own maps.
    """
    if isinstance(backbone.output, Mapping):
        return _named(backbone)
    graph = _Graph(backbone)
    return {name: op for name in FEATURE_MAPS if (op := graph.last(name) or graph.end(name))}


def stage_outputs(backbone: keras.Model) -> dict[str, Operation]:
    """`P2` … `P5` -> the layer that ends the stage of that resolution, at which a network can be cut.

    These are the sums of the residual blocks (`block_12_add`), or the concatenations of dense blocks and inception
    modules, with the activation that follows; they are narrower than the maps of `last_maps`, which already belong to
    the expansion of the next stage. A backbone without such blocks is cut at its last maps. `P5` is the backbone's own
    output, whatever its size.
    """
    if isinstance(backbone.output, Mapping):
        named = _named(backbone)
        return {**named, "P5": named[max(named)]}
    graph = _Graph(backbone)
    found = {name: op for name in FEATURE_MAPS if (op := graph.end(name) or graph.last(name))}
    return {**found, "P5": graph.producer[id(_tensors(backbone.output)[-1])]}


def cut_backbone(backbone: keras.Model, cut: str) -> tuple[Operation, dict[str, Operation]]:
    """The last layer of a backbone cut at `P3`, `P4` or `P5` (the whole), and its remaining maps by name.

    Raises:
        UserError: the backbone has no stage of that resolution, or no map at all.
    """
    ends = stage_outputs(backbone)
    if cut not in ends:
        raise UserError(f"{backbone.name} has no feature map at {cut}, only at {', '.join(ends)}")
    end = ends[cut]
    if isinstance(backbone.output, Mapping):
        maps = {name: op for name, op in _named(backbone).items() if name <= cut}
    else:
        maps = last_maps(backbone if cut == "P5" else keras.Model(backbone.input, end.output))
    if not maps:
        raise UserError(f"{backbone.name} has no feature map 4, 8, 16 or 32 times smaller than its input")
    return end, maps


def _named(backbone: keras.Model) -> dict[str, Operation]:
    """The maps of a model that returns a dictionary of them."""
    producer = {id(tensor): op for op in backbone.operations for tensor in _tensors(op.output)}
    return {name: producer[id(backbone.output[name])] for name in sorted(backbone.output)}


def _tensors(nest: Any) -> list[_Tensor]:
    return keras.tree.flatten(nest)


class _Graph:
    """A functional backbone as operations in their order, each with the stride of its map.

    Attributes:
        producer: id of a symbolic tensor -> the operation that made it.
        stride: id of a symbolic tensor -> how many times smaller than the image it is; absent if it is not a map.
        through: names of the operations on every path from the image to the output.
        rises: whether the output is finer than some map, as in a U-Net.
    """

    def __init__(self, backbone: keras.Model):
        self.operations = list(backbone.operations)
        self.producer = {id(t): op for op in self.operations for t in _tensors(op.output)}
        self.consumers: dict[str, list[Operation]] = {op.name: [] for op in self.operations}
        self.stride: dict[int, float] = {}
        self._size = int(_tensors(backbone.input)[0].shape[1])
        for op in self.operations:
            for tensor in self._inputs(op):
                self.consumers[self.producer[id(tensor)].name].append(op)
            if (stride := self._stride(op)) is not None:
                self.stride[id(op.output)] = stride
        self.through = self._through()
        self.rises = self.stride.get(id(_tensors(backbone.output)[-1]), 1.0) < max(self.stride.values())

    def last(self, name: str) -> Operation | None:
        """The last operation of that resolution on every path; in a U-Net the last one of all."""
        there = self._at(name)
        found = [op for op in there if op.name in self.through] or (there if self.rises else [])
        return found[-1] if found else None

    def end(self, name: str) -> Operation | None:
        """The last sum or join of that resolution, with normalisation and activation if only these follow it."""
        joins = [op for op in self._at(name) if type(op).__name__ in _JOINS]
        whole = [op for op in joins if op.name in self.through] or joins
        if not whole:
            return None
        op = whole[-1]
        while len(after := self.consumers[op.name]) == 1 and isinstance(after[0], _ELEMENTWISE):
            op = after[0]
        return op

    def _at(self, name: str) -> list[Operation]:
        wanted = FEATURE_MAPS[name]
        ops = [op for op in self.operations if self.stride.get(id(op.output)) == wanted]
        return [op for op in ops if not isinstance(op, _FRAMES)]

    def _inputs(self, op: Operation) -> list[_Tensor]:
        if isinstance(op, L.InputLayer):
            return []
        return [tensor for tensor in _tensors(op.input) if id(tensor) in self.producer]

    def _stride(self, op: Operation) -> float | None:
        """The stride of an operation's output; None for a vector, tokens, several tensors or a global mean."""
        if isinstance(op, L.InputLayer):
            return 1.0
        shape = getattr(op.output, "shape", ())
        if len(shape) != 4 or not shape[1] or isinstance(op, _GLOBAL):
            return None
        sources = [t for t in self._inputs(op) if id(t) in self.stride]
        if not sources:  # computed from tokens, or from a vector
            return None if shape[1] == 1 else 2.0 ** round(math.log2(self._size / shape[1]))
        source = max(sources, key=lambda t: self.stride[id(t)])
        before = self.stride[id(source)]
        if isinstance(op, _FRAMES):
            return before
        if isinstance(op, L.Conv2DTranspose):
            return before / op.strides[0]
        if isinstance(op, _STRIDED):
            return before * op.strides[0]
        ratio = source.shape[1] / shape[1]
        if shape[1] == 1 and ratio > 2:
            return None
        return before * 2.0 ** round(math.log2(ratio)) if ratio >= 1.5 or ratio <= 0.5 else before

    def _through(self) -> set[str]:
        """Names of the operations on every path from the image to the output.

        In topological order they are those that no edge jumps over.
        """
        place = {op.name: number for number, op in enumerate(self.operations)}
        farthest, found = 0, set()
        for number, op in enumerate(self.operations):
            if farthest <= number:
                found.add(op.name)
            farthest = max([farthest, *(place[after.name] for after in self.consumers[op.name])])
        return found
