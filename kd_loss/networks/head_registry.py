"""The heads by name, and the registration of custom ones: `@register_head("mine")` in a `--plugin`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.system.arguments import function_of, text_of
from kd_loss.system.errors import UserError, line_in

_Tensor = Any
CUTS = ("P3", "P4", "P5")


@dataclass(frozen=True)
class HeadInputs:
    """The inputs from which a head is built.

    Attributes:
        features: the backbone's final map (B, h, w, C), 16 times smaller than the input with a `cut` of P4.
        maps: the last map of each resolution by name, from `P2` to the end of the backbone.
        shape: (N, C) of the target, (K, 2) for K landmarks.
        size: side of the input in pixels.
        width: width multiplier of the backbone.
        dropout: dropout rate of an embedding in training.
        seed: seed of dropout.
        mean_shape: (N, C), the mean target of the training faces; None without training faces.
        own_maps: whether `features` are already fine enough for heatmaps (U-Nets).
    """

    features: _Tensor
    maps: Mapping[str, _Tensor]
    shape: tuple[int, int]
    size: int
    width: float = 1.0
    dropout: float = 0.0
    seed: int = 0
    mean_shape: np.ndarray | None = None
    own_maps: bool = False


Build = Callable[[HeadInputs], Any]


@dataclass(frozen=True)
class Head:
    """A head's constructor and its requirements.

    Attributes:
        build: `HeadInputs` -> landmarks (B, N, C), or tap -> tensor with `landmarks` among them.
        cut: default end of the backbone.
        points_only: whether its targets must be points in a plane.
        second_moment: network -> E (x² + y²) under its layer `probabilities`, (B, K, 1), for the tap `spread`; None for
            a head without distributions.
        own: whether it is the user's own, which is checked before training.
    """

    build: Build
    cut: str = "P4"
    points_only: bool = True
    second_moment: Callable[[Any], _Tensor] | None = None
    own: bool = True


HEADS: dict[str, Head] = {}


def register_head(name: str, *, cut: str = "P4", points_only: bool = True) -> Callable[[Build], Build]:
    """Function decorator: register a head as `--head name`.

    The function gets `HeadInputs` and returns landmarks (B, K, 2) in normalised coordinates, −0.5…0.5 across the crop,
    built from Keras's own layers; or a dictionary of `landmarks` and further taps, which custom methods may use.
    `check_head` checks it on one image before training.

        @kd_loss.register_head("flat")
        def flat(inputs):
            x = keras.layers.Flatten()(inputs.features)
            x = keras.layers.Dense(inputs.shape[0] * 2, name="flat_points", dtype="float32")(x)
            return keras.layers.Reshape(inputs.shape, name="landmarks")(x)

    Args:
        name: the name on the command line and in the card.
        cut: default end of the backbone: `P3`, `P4` or `P5`, the whole.
        points_only: reject targets that are not points, such as head poses.

    Raises:
        UserError: another head has that name, or the cut is invalid.
    """
    text_of(name, "name")
    if text_of(cut, "cut") not in CUTS:
        raise UserError(f"the head {name} cannot be cut at '{cut}': {', '.join(CUTS)}")

    def add(build: Build) -> Build:
        function_of(build, f"what stands below @register_head('{name}')")
        known = HEADS.get(name)
        if known is not None and _place(known.build) != _place(build):
            mine, other = _place(build)[1], _place(known.build)[1]
            raise UserError(f"{mine} cannot be registered as the head '{name}': {other} is")
        HEADS[name] = Head(build, cut, points_only)
        return build

    return add


def register_built_in(
    name: str, *, cut: str = "P4", points_only: bool = True, second_moment: Callable[[Any], _Tensor] | None = None
) -> Callable[[Build], Build]:
    """Like `register_head`, for the heads of this package, which its tests check."""

    def add(build: Build) -> Build:
        HEADS[name] = Head(build, cut, points_only, second_moment, own=False)
        return build

    return add


def _place(build: Build) -> tuple[str, str]:
    return getattr(build, "__module__", ""), getattr(build, "__qualname__", repr(build))


def build_head(name: str, inputs: HeadInputs) -> dict[str, _Tensor]:
    """The taps of a head, `landmarks` first.

    Raises:
        UserError: a user's own head raises, or returns something other than tensors.
    """
    import keras

    head = HEADS[name]
    if not head.own:
        return dict(head.build(inputs))
    try:
        made = head.build(inputs)
    except UserError:
        raise
    except Exception as error:  # user code
        raise UserError(f"the head {name} fails in build{_where(head.build, error)}") from error
    taps = dict(made) if isinstance(made, Mapping) else {"landmarks": made}
    wrong = [tap for tap, tensor in taps.items() if not isinstance(tensor, keras.KerasTensor)]
    if "landmarks" not in taps or wrong:
        given = f"no tensor as '{wrong[0]}'" if wrong else f"taps without 'landmarks': {', '.join(map(str, taps))}"
        raise UserError(f"the head {name} returns {given}; expected landmarks (B, N, C)")
    if tuple(taps["landmarks"].shape[1:]) != inputs.shape:
        given = f"({', '.join(map(str, ('B', *taps['landmarks'].shape[1:])))})"
        wanted = f"(B, {inputs.shape[0]}, {inputs.shape[1]})"
        raise UserError(f"the head {name} returns {given}; expected landmarks {wanted}")
    if taps["landmarks"].dtype != "float32":  # mixed precision
        taps["landmarks"] = keras.layers.Activation("linear", dtype="float32")(taps["landmarks"])
    return taps


def _where(build: Build, error: Exception) -> str:
    """` (mine.py, line 7): ValueError: its first line`."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:160]
    file = inspect.unwrap(build).__code__.co_filename if inspect.isfunction(inspect.unwrap(build)) else ""
    line = line_in(file, error)
    place = "" if line is None else f" ({Path(file).name}, line {line})"
    return f"{place}: {type(error).__name__}" + (f": {text}" if text else "")
