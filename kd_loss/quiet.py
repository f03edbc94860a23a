"""Silence for what libraries write to the error descriptor itself, and for a library that nothing needs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep start-up notes and progress of C++ libraries, and Python's warnings, from the user.

    Exceptions pass.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    kept = {number: os.dup(number) for number in _error_descriptors()}
    with open(os.devnull, "w") as nowhere:
        for number in kept:
            os.dup2(nowhere.fileno(), number)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def _error_descriptors() -> set[int]:
    """That of C++ libraries and that of Python, which a command keeps apart; none that is closed."""
    found = set()
    with contextlib.suppress(OSError):
        os.fstat(2)
        found.add(2)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, closed, or no descriptor at all
        sys.stderr.flush()
        found.add(sys.stderr.fileno())
    return found


class WithoutTensorFlow:
    """An import hook that hides TensorFlow: on another backend Keras imports it just to see whether it is there."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse TensorFlow, leave every other module to the finders after this one."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
