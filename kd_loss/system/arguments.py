"""Checks of arguments at public functions and constructors: a `UserError` of one line that names the argument."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_loss.system.errors import UserError


def shown(value: Any, most: int = 60) -> str:
    """A value for a message, on one line: its `repr` where that is short, otherwise what it is.

    >>> shown("cat"), shown([1, 2]), shown(list(range(100)))
    ("'cat'", '[1, 2]', 'a list of 100')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array {tuple(value.shape)} {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # a third-party `__repr__`, or an integer too long to print
        text = ""
    if text and len(text) <= most and text.isprintable():
        return text
    of = f" of {len(value)}" if isinstance(value, list | tuple | dict | set | str | bytes) else ""
    return f"a {type(value).__name__}{of}"


def wrong(name: str, value: Any, wanted: str) -> UserError:
    """The error for an argument: `name` is `value`; `wanted` is wanted."""
    return UserError(f"{name} is {shown(value)}; {wanted} is wanted")


def path_of(value: Any, name: str) -> Path:
    """A path from a string or an `os.PathLike`; `name` is the argument's."""
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str) and text and "\0" not in text:
            return Path(text)
    raise wrong(name, value, "the path of a file or folder")


def text_of(value: Any, name: str, wanted: str = "a name") -> str:
    """The value if it is a string without NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise wrong(name, value, wanted)
    return value


def number_of(value: Any, name: str, low: float = -math.inf, high: float = math.inf, wanted: str = "a number") -> float:
    """The value as a finite float in `low`…`high`, also from NumPy."""
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number) or not low <= number <= high:
        raise wrong(name, value, wanted)
    return number


def whole_of(value: Any, name: str, low: int, high: int) -> int:
    """The value as an integer in `low`…`high`, also from NumPy."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise wrong(name, value, f"a whole number in {low:,}…{high:,}")
    return int(value)


def flag_of(value: Any, name: str) -> bool:
    """The value if it is True or False, also NumPy's."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise wrong(name, value, "True or False")
    return bool(value)


def function_of(value: Any, name: str, wanted: str = "a function") -> Callable[..., Any]:
    """The value if it can be called."""
    if not callable(value):
        raise wrong(name, value, wanted)
    return value  # type: ignore[no-any-return]


def list_of(value: Any, name: str, wanted: str = "a list") -> list[Any]:
    """The items of a list, tuple, array or other sequence that is no text."""
    array = getattr(value, "ndim", 0) >= 1 and hasattr(value, "__iter__")
    if isinstance(value, str | bytes | bytearray) or not (isinstance(value, Sequence) or array):
        raise wrong(name, value, wanted)
    return list(value)


def table_of(value: Any, name: str, wanted: str = "a dictionary") -> Mapping[Any, Any]:
    """The value if it is a mapping whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(name, value, wanted)
    return value
