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
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class WithoutTensorFlow:
    """An import hook that hides TensorFlow: on another backend Keras imports it just to see whether it is there."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse TensorFlow, leave every other module to the finders after this one."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
