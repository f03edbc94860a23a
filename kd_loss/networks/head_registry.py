"""The heads by name, and how somebody adds one of his own: `@register_head("mine")` in a `--plugin`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.system.errors import UserError, line_in

_Tensor = Any
CUTS = ("P3", "P4", "P5")


@dataclass(frozen=True)
class HeadInputs:
    """What a head is made from.

    Attributes:
        features: the map (B, h, w, C) in which the backbone ends, 16 times smaller than the input with a `cut` of P4.
        maps: the last maps of each resolution by name, `P2` … as far as the backbone goes.
        shape: (N, C) of the target, (K, 2) for K landmarks.
        size: side of the input in pixels.
        width: width multiplier of the backbone.
        dropout: share of an embedding to drop in training.
        seed: of dropout.
        mean_shape: (N, C), the mean target of the training faces; None where there are none.
        own_maps: whether `features` are as fine as heatmaps have to be already (U-Nets).
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
    """A head's constructor and what it wants.

    Attributes:
        build: `HeadInputs` -> landmarks (B, N, C), or tap -> tensor with `landmarks` among them.
        cut: where the backbone ends unless the user says otherwise.
        points_only: whether its targets have to be points in a plane.
        second_moment: network -> E (x² + y²) under its layer `probabilities`, (B, K, 1), for the tap `spread`; None for
            a head without distributions.
        own: whether it is the user's: it is checked before a training.
    """

    build: Build
    cut: str = "P4"
    points_only: bool = True
    second_moment: Callable[[Any], _Tensor] | None = None
    own: bool = True


HEADS: dict[str, Head] = {}


def register_head(name: str, *, cut: str = "P4", points_only: bool = True) -> Callable[[Build], Build]:
    """Function decorator: make a head known as `--head name`.

    The function gets `HeadInputs` and returns landmarks (B, K, 2) in normalised coordinates, −0.5…0.5 across the crop,
    made of Keras's own layers; or a dictionary of `landmarks` and further taps, which methods of one's own may ask for.
    `check_head` tries it on one picture before a training begins.

        @kd_loss.register_head("flat")
        def flat(inputs):
            x = keras.layers.Flatten()(inputs.features)
            x = keras.layers.Dense(inputs.shape[0] * 2, name="flat_points", dtype="float32")(x)
            return keras.layers.Reshape(inputs.shape, name="landmarks")(x)

    Args:
        name: on the command line and in the card.
        cut: where the backbone ends by default: `P3`, `P4` or `P5`, the whole.
        points_only: refuse targets that are no points, such as head poses.

    Raises:
        UserError: another head has that name, or the cut is none.
    """
    if cut not in CUTS:
        raise UserError(f"the head {name} cannot be cut at '{cut}': {', '.join(CUTS)}")

    def add(build: Build) -> Build:
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
    """The same for the heads of this package, which its tests check."""

    def add(build: Build) -> Build:
        HEADS[name] = Head(build, cut, points_only, second_moment, own=False)
        return build

    return add


def _place(build: Build) -> tuple[str, str]:
    return getattr(build, "__module__", ""), getattr(build, "__qualname__", repr(build))


def build_head(name: str, inputs: HeadInputs) -> dict[str, _Tensor]:
    """The taps of a head, `landmarks` first.

    Raises:
        UserError: a head of the user's own raises, or returns something else than tensors.
    """
    import keras

    head = HEADS[name]
    if not head.own:
        return dict(head.build(inputs))
    try:
        made = head.build(inputs)
    except UserError:
        raise
    except Exception as error:  # somebody's own code
        raise UserError(f"the head {name} fails when it is built{_where(head.build, error)}") from error
    taps = dict(made) if isinstance(made, Mapping) else {"landmarks": made}
    wrong = [tap for tap, tensor in taps.items() if not isinstance(tensor, keras.KerasTensor)]
    if "landmarks" not in taps or wrong:
        given = f"no tensor as '{wrong[0]}'" if wrong else f"taps without 'landmarks': {', '.join(map(str, taps))}"
        raise UserError(f"the head {name} returns {given}; landmarks (B, N, C) are wanted")
    if tuple(taps["landmarks"].shape[1:]) != inputs.shape:
        given = f"({', '.join(map(str, ('B', *taps['landmarks'].shape[1:])))})"
        wanted = f"(B, {inputs.shape[0]}, {inputs.shape[1]})"
        raise UserError(f"the head {name} returns {given}; landmarks {wanted} are wanted")
    if taps["landmarks"].dtype != "float32":  # of mixed precision
        taps["landmarks"] = keras.layers.Activation("linear", dtype="float32")(taps["landmarks"])
    return taps


def _where(build: Build, error: Exception) -> str:
    """` (mine.py, line 7): ValueError: its first line`."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:160]
    file = inspect.unwrap(build).__code__.co_filename if inspect.isfunction(inspect.unwrap(build)) else ""
    line = line_in(file, error)
    place = "" if line is None else f" ({Path(file).name}, line {line})"
    return f"{place}: {type(error).__name__}" + (f": {text}" if text else "")
