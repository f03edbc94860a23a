"""The check of a loss's arguments: one line that names the argument, instead of a backend's own error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from kd_loss.system.arguments import number_of, shown, wrong
from kd_loss.system.errors import UserError, first_line

_F = TypeVar("_F", bound=Callable[..., Any])
#: arguments that are landmarks, (B, K, 2) or (B, 2K); `teacher` may be maps as well
_LANDMARKS = ("y_true", "y_pred", "tough", "tolerant", "auxiliary")


def of_tensors(function: _F) -> _F:
    """Decorator of a loss: its arguments annotated as `Tensor` are tensors of numbers with one batch, others numbers.

    An argument that is none, and whatever the backend raises about the shapes, is a `UserError`.
    """
    signature = inspect.signature(function)
    kinds = {name: str(parameter.annotation) for name, parameter in signature.parameters.items()}

    @functools.wraps(function)
    def checked(*args: Any, **keywords: Any) -> Any:
        given = signature.bind(*args, **keywords).arguments
        batches: dict[str, Any] = {}
        for name, value in given.items():
            kind = kinds[name]
            if not kind.startswith("Tensor"):
                if kind == "float" and not hasattr(value, "dtype"):
                    number_of(value, name)
            elif not (value is None and "None" in kind):
                batches[name] = _batch(name, value)
        sizes = {size for name, size in batches.items() if size is not None and name not in ("kernel", "bias")}
        if len(sizes) > 1:
            told = ", ".join(f"{name} {size}" for name, size in batches.items())
            raise UserError(f"{function.__name__}: tensors of different batches: {told}")
        try:
            return function(*args, **keywords)
        except Exception as error:  # each backend raises its own
            cause: BaseException = error
            while cause.__cause__ is not None:  # of a loss within this one
                cause = cause.__cause__
            told = ", ".join(f"{name} is {shown(value)}" for name, value in given.items() if name in batches)
            raise UserError(f"{function.__name__}: {told}: {first_line(cause)}") from error

    return checked  # type: ignore[return-value]


def _batch(name: str, value: Any) -> int | None:
    """The number of samples of a tensor, None while it is symbolic; a `UserError` if it is no tensor."""
    shape = getattr(value, "shape", None)
    if shape is None or not hasattr(value, "dtype") or isinstance(value, np.ndarray):
        try:
            array = np.asarray(value)
        except ValueError:  # a ragged list
            array = np.asarray(None)
        if array.dtype.kind not in "fiub":
            raise wrong(name, value, "a tensor of numbers")
        shape = array.shape
    axes = len(shape)
    if axes < (2 if name in _LANDMARKS else 1) or (name in _LANDMARKS and axes > 3):
        raise wrong(name, value, "a tensor (B, K, 2) or (B, 2K)" if name in _LANDMARKS else "a tensor with a batch")
    if 0 in tuple(shape):
        raise UserError(f"{name} is {shown(value)}: it is empty")
    return shape[0] if isinstance(shape[0], int) else None
