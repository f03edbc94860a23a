"""Limits on the size of Keras networks, checked during construction, before weights are allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import keras

from kd_loss.networks.model_file import MOST_BYTES
from kd_loss.system.errors import UserError

T = TypeVar("T")


class _TooLarge(Exception):
    pass


@contextmanager
def _counted(most: int) -> Iterator[None]:
    """Inside, layers may add at most `most` bytes of weights in all."""
    add, left = keras.layers.Layer.add_weight, [most]

    def counting(layer: keras.Layer, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        sides = shape if isinstance(shape, tuple | list) else (shape,)
        left[0] -= 4 * math.prod(side for side in sides if isinstance(side, int))
        if left[0] < 0:
            raise _TooLarge
        return add(layer, shape, *arguments, **options)

    keras.layers.Layer.add_weight = counting
    try:
        yield
    except Exception:
        if left[0] < 0:  # Keras replaces this error by its own
            raise _TooLarge from None
        raise
    finally:
        keras.layers.Layer.add_weight = add


def within_limits(path: Path, build: Callable[[Path], T]) -> T:
    """Return `build(path)`; raises a `UserError` as soon as it has more weights than any network here."""
    try:
        with _counted(MOST_BYTES):
            return build(path)
    except _TooLarge:
        raise UserError(
            f"{path} describes more than {MOST_BYTES >> 20} MiB of weights, more than any supported network"
        ) from None


def check_maps(path: Path, model: keras.Model) -> None:
    """Raise a `UserError` if a layer's output for one image is larger than any network's weights here."""
    for layer in model.layers:
        outputs = layer.output if isinstance(layer.output, list | tuple) else [layer.output]
        for output in outputs:
            size = 4 * math.prod(side for side in getattr(output, "shape", ()) if isinstance(side, int))
            if size > MOST_BYTES:
                raise UserError(
                    f"{path}: the layer {layer.name} makes {size >> 20} MiB from one image, more than in any "
                    "supported network"
                )


def check_count(name: str, model: keras.Model) -> None:
    """Raise a `UserError` if a network has more weights than `within_limits` can load."""
    size = 4 * model.count_params()
    if size > MOST_BYTES:
        raise UserError(f"{name} has {size >> 20} MiB of weights; the limit is {MOST_BYTES >> 20} MiB")
