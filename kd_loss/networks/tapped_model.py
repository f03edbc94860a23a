"""Any Keras model from images to landmarks as a network with taps, its named intermediate outputs.

Functional and Sequential models have all taps that can be found: `landmarks`, the output; `embedding`, the input of the
last dense layer; `P2` to `P5`, for each n the last feature map 2ⁿ times smaller than the input, even inside a backbone
that is a layer of the model. A subclassed model has no graph to inspect: its only tap is `landmarks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.arguments import table_of, whole_of
from kd_loss.system.errors import UserError

#: tap -> the power of two by which its maps are smaller than the input
LEVELS = {"P2": 2, "P3": 3, "P4": 4, "P5": 5}


class TappedModel:
    """Adapts a Keras model to the toolkit's methods; the weights are shared with the model.

    Args:
        model: images (B, S, S, 3) -> landmarks (B, K, 2) or (B, 2K) as x₀, y₀, x₁, y₁, …; or a dictionary or list
            of outputs, with the landmarks named by `taps`.
        coordinates: the unit of its landmarks, see `Coordinates`.
        taps: tap -> the name of a layer, `backbone/block_12_add` for one inside a layer that is a model; they override
            the taps found. A tap may have any name that a method uses.
        size: side of the images in pixels, for a model that does not specify it.
        option: what a message calls `taps`, where a caller names them differently.

    Raises:
        UserError: the model does not return points, a layer does not exist, or the size of the images is needed.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        coordinates: Coordinates | str | tuple[float, float] = "normalised",
        taps: Mapping[str, str] | None = None,
        size: int | None = None,
        option: str = "taps={…}",
    ):
        if not isinstance(model, keras.Model):
            raise UserError(
                f"a {type(model).__name__} is no network: a keras.Model or kd_loss.load_network(path) is wanted"
            )
        size = None if size is None else whole_of(size, "image_size", 1, 1 << 14)
        self.model, self._option = model, option
        self._graph = _graph_of(model)
        shape = tuple(self._graph.inputs[0].shape) if self._graph else ()
        if self._graph and len(self._graph.inputs) != 1:
            raise UserError(f"{model.name} has {len(self._graph.inputs)} inputs; a landmark network has one, images")
        self.size: int | None = (shape[1] if len(shape) == 4 else None) or size
        if self._graph is None and self.size is None:
            raise UserError(f"{model.name} is a subclassed model: give the size of its images, e.g. image_size=112")
        self.coordinates = Coordinates.of(coordinates, self.size)
        self._places = dict(_places(self._graph)) if self._graph else {}
        self.named = {} if taps is None else dict(table_of(taps, "taps", "a dictionary, tap -> name of a layer"))
        for tap, place in self.named.items():
            if place not in self._places:
                raise UserError(self._no_such_layer(tap, place))
        self.target_shape = self._target_shape()

    @cached_property
    def places(self) -> dict[str, str]:
        """Tap -> the layer that outputs it, for all taps."""
        found = {}
        if self.size:
            for tap, power in LEVELS.items():
                side = -(-self.size // 2**power)
                maps = [
                    name for name, t in self._places.items() if len(t.shape) == 4 and t.shape[1] == t.shape[2] == side
                ]
                if maps:
                    found[tap] = maps[-1]
        if self._head is not None and (below := _made_by(self._head.input)):
            found["embedding"] = below
        return {**found, **self.named}

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the available taps."""
        return tuple(dict.fromkeys(["landmarks", *self.places]))

    def tap_model(self, names: Iterable[str] = ("landmarks",)) -> keras.Model:
        """A model with shared weights that returns a dictionary of taps; landmarks (B, K, 2), normalised."""
        names = list(dict.fromkeys(names))
        for name in names:
            if name not in self.taps:
                raise UserError(self._no_such_tap(name))
        if self._graph is None:
            inputs = keras.Input((self.size, self.size, 3), name="image")
            return keras.Model(inputs, {"landmarks": self._normalised(self.model(inputs))}, name="taps")
        wanted = {name: self.places[name] for name in names if name in self.places}
        graph = _with_outputs(self._graph, set(wanted.values()))
        outputs = graph.output
        taps = {name: outputs[place] for name, place in wanted.items()}
        if "landmarks" in names and "landmarks" not in self.named:
            taps["landmarks"] = outputs[_OUTPUT]
        if "landmarks" in taps:
            taps["landmarks"] = self._normalised(taps["landmarks"])
        return keras.Model(graph.inputs[0], taps, name="taps")

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """The shape of a tap, without the batch."""
        return tuple(self.tap_model([tap]).output[tap].shape[1:])

    def channels(self, tap: str) -> int:
        """The number of channels of a tap: the last axis of its shape."""
        return int(self.tap_shape(tap)[-1])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel (C, 2K) and bias (2K,) of the last dense layer, converted to normalised landmarks.

        Raises:
            UserError: the landmarks are not the direct output of a dense layer.
        """
        if self._head is None:
            raise UserError(
                f"the landmarks of {self.model.name} are not the direct output of a dense layer, which srrl needs"
            )
        kernel, *bias = self._head.get_weights()
        low, span = self.coordinates.low, self.coordinates.span
        return kernel / span, (bias[0] if bias else np.zeros(kernel.shape[1], np.float32)) / span - low / span - 0.5

    @property
    def _head(self) -> keras.layers.Dense | None:
        """The linear layer that computes the landmarks, followed at most by a reshape."""
        if self._graph is None or "landmarks" in self.named or isinstance(self._graph.output, dict | list):
            return None
        tensor = self._graph.output
        while True:
            layer = getattr(tensor, "_keras_history", (None,))[0]
            if isinstance(layer, keras.layers.Reshape | keras.layers.Flatten):
                tensor = layer.input
                continue
            if not isinstance(layer, keras.layers.Dense) or layer.activation is not keras.activations.linear:
                return None
            return layer if layer.units == int(np.prod(self.target_shape)) else None

    def _target_shape(self) -> tuple[int, int]:
        if self._graph is None:
            given = keras.Model(i := keras.Input((self.size, self.size, 3)), self.model(i)).output
        elif place := self.named.get("landmarks"):
            given = self._places[place]
        else:
            given = self._graph.output
        if isinstance(given, dict) and "landmarks" in given:
            given = given["landmarks"]
        shape = tuple(given.shape[1:]) if hasattr(given, "shape") else ()
        if len(shape) == 2 and shape[1] == 2 and shape[0]:
            return shape[0], 2
        if len(shape) == 1 and shape[0] and shape[0] % 2 == 0:
            return shape[0] // 2, 2
        what = f"{(None, *shape)}" if shape else "several outputs"
        raise UserError(
            f"{self.model.name} gives {what}; landmarks are (B, K, 2) or (B, 2K): name their layer, "
            f"{self._call('landmarks', 'layer')}"
        )

    def _normalised(self, output: Any) -> Any:
        if isinstance(output, dict):
            output = output["landmarks"]
        points = keras.layers.Reshape(self.target_shape, dtype="float32", name="points")(output)
        scale, offset = 1 / self.coordinates.span, -self.coordinates.low / self.coordinates.span - 0.5
        if (scale, offset) == (1.0, 0.0):
            return points
        return keras.layers.Rescaling(scale, offset, dtype="float32", name="normalised")(points)

    def _no_such_tap(self, tap: str) -> str:
        if self._graph is None:
            return f"{self.model.name} is a subclassed model, whose only tap is landmarks: it has no '{tap}'"
        power = LEVELS.get(tap)
        why = f"; no map is {2**power} times smaller than {self.size} px" if power and self.size else ""
        has = ", ".join(self.taps)
        return f"{self.model.name} has no tap '{tap}'{why}; it has: {has}; name a layer: {self._call(tap, '…')}"

    def _no_such_layer(self, tap: str, place: str) -> str:
        import difflib

        near = difflib.get_close_matches(place, list(self._places), n=1)
        hint = f": did you mean '{near[0]}'?" if near else ""
        hint = hint or " (or it is a subclassed model)"
        return f"{self._call(tap, place)}: {self.model.name} has no layer '{place}'{hint}"

    def _call(self, tap: str, place: str) -> str:
        """The argument that names a layer, as a user writes it."""
        return self._option.replace("…}", f"'{tap}': '{place}'}}")


#: the key of a graph's own output, besides those of its layers
_OUTPUT = "=output"


def _graph_of(model: keras.Model) -> keras.Model | None:
    """The functional model behind a functional or a built Sequential one; None for a subclassed one."""
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise UserError(f"{model.name} is not built: start it with keras.Input((size, size, 3))")
        return keras.Model(model.inputs, model.outputs[0], name=model.name)
    try:
        return model if model.inputs and model.layers and _is_graph(model) else None
    except AttributeError:
        return None


def _is_graph(model: Any) -> bool:
    """Whether the outputs of the model's layers are parts of one graph."""
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
    return bool(outputs) and all(hasattr(output, "_keras_history") for output in outputs)


def _inner(layer: Any) -> keras.Model | None:
    return _graph_of(layer) if isinstance(layer, keras.Model) else None


def _places(graph: keras.Model) -> Iterable[tuple[str, Any]]:
    """Path of a layer -> its output, in the order of the computation."""
    for layer in graph.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if (inner := _inner(layer)) is not None:
            yield from ((f"{layer.name}/{name}", output) for name, output in _places(inner))
        output = layer.output
        if hasattr(output, "shape"):
            yield layer.name, output


def _made_by(tensor: Any) -> str:
    """The name of the layer that makes a tensor; empty for an input."""
    layer = getattr(tensor, "_keras_history", (None,))[0]
    return "" if layer is None or isinstance(layer, keras.layers.InputLayer) else layer.name


def _with_outputs(graph: keras.Model, wanted: set[str]) -> keras.Model:
    """The graph with a dictionary of outputs: its own and those of the layers at the `wanted` paths."""
    inside: dict[str, set[str]] = {}
    direct = set()
    for path in wanted:
        outer, slash, rest = path.partition("/")
        if slash and _has_inner(graph, outer):
            inside.setdefault(outer, set()).add(rest)
        else:
            direct.add(path)
    if not inside:
        outputs = {path: graph.get_layer(path).output for path in direct}
        return keras.Model(graph.inputs, {**outputs, _OUTPUT: graph.output}, name=graph.name)
    found: dict[str, Any] = {}

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        if layer.name in inside:
            inner = _inner(layer)
            assert inner is not None
            answers = _with_outputs(inner, inside[layer.name])(*arguments, **keywords)
            found.update({f"{layer.name}/{path}": answers[path] for path in inside[layer.name]})
            answer = answers[_OUTPUT]
        else:
            answer = layer(*arguments, **keywords)
        found[layer.name] = answer
        return answer

    inputs = keras.Input(graph.inputs[0].shape[1:], dtype=graph.inputs[0].dtype, name="image")
    fed = keras.tree.map_structure(lambda _: inputs, graph.input)
    again = keras.models.clone_model(graph, input_tensors=fed, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(inputs, {**{path: found[path] for path in wanted}, _OUTPUT: again.output}, name=graph.name)


def _has_inner(graph: keras.Model, name: str) -> bool:
    return any(layer.name == name and _inner(layer) is not None for layer in graph.layers)
