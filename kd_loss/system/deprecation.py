"""Keeps old names working for one release, with a warning that gives the new name.

An option declares its old spelling itself: `option(…, also="--room")` (`system.configuration`). Attributes and methods
use `RenamedAttribute`, keywords `renamed_keywords`. All of them issue a `RenamedWarning`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)

#: the release that drops the names deprecated in this one
REMOVED_IN = "0.3"


class RenamedWarning(DeprecationWarning):
    """An old name was used. Python shows it in scripts and tests (`-W default`), commands on standard error."""


def warn_renamed(old: str, new: str, removed_in: str = REMOVED_IN, stacklevel: int = 3) -> None:
    """Warns in one line that `old` is now called `new`.

    Args:
        old: the name that was used, e.g. `--room` or `FaceLandmarks.box`.
        new: the name to use.
        removed_in: the release that drops the old name.
        stacklevel: the stack frame to blame, as in `warnings.warn`; 3 is the caller of the calling function.
    """
    warnings.warn(f"{old} is now {new}; the old name will be removed in {removed_in}", RenamedWarning, stacklevel)


def renamed_of(cls: type) -> dict[str, str]:
    """Old keyword -> keyword of a class that `renamed_keywords` decorates; empty for others."""
    return dict(getattr(cls, "__renamed__", {}))


def current_keyword(cls: type, name: str, title: str) -> str:
    """The present name of a keyword of a class called `title`; warns if `name` is an old one."""
    new = renamed_of(cls).get(name, name)
    if new != name:
        warn_renamed(f"{title}.{name}", f"{title}.{new}")
    return new


class RenamedAttribute:
    """A class attribute that forwards an old name to `new`: an attribute, property or method.

    >>> class Face:
    ...     crop_box = (0, 0, 64, 64)
    ...     box = RenamedAttribute("crop_box")
    >>> with old_names_shown():  # logs: Face.box is now crop_box; the old name will be removed in 0.3
    ...     Face().box
    (0, 0, 64, 64)
    """

    def __init__(self, new: str, removed_in: str = REMOVED_IN):
        self.new, self.removed_in = new, removed_in

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        warn_renamed(f"{type(instance).__name__}.{self.old}", self.new, self.removed_in)
        return getattr(instance, self.new)


def renamed_keywords(*, removed_in: str = REMOVED_IN, **names: str) -> Callable[[F], F]:
    """Decorator that lets a function or a dataclass accept keywords by their old names.

    Both names at once raise a `TypeError`; for a dataclass the old one wins, since `dataclasses.replace` adds all
    fields that it is not given.

    Args:
        removed_in: the release that drops the old names.
        names: old name = new name.

    >>> @renamed_keywords(room="border")
    ... def crop(border=0.0):
    ...     return border
    >>> crop(border=0.5)
    0.5
    """

    def current(words: dict[str, Any], name: str, of_class: bool) -> dict[str, Any]:
        for old in names.keys() & words.keys():
            new = names[old]
            if new in words and not of_class:
                raise TypeError(f"{name}() got {new} and {old}, its old name")
            words = {key: value for key, value in words.items() if key != new}
            warn_renamed(f"{name}({old}=…)", f"{new}=…", removed_in, stacklevel=4)
            words = {new if key == old else key: value for key, value in words.items()}
        return words

    def decorate(target: F) -> F:
        function: Any = target.__init__ if isinstance(target, type) else target

        @functools.wraps(function)
        def wrapper(*arguments: Any, **words: Any) -> Any:
            return function(*arguments, **current(words, target.__name__, isinstance(target, type)))

        if isinstance(target, type):
            wrapper.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # Keras reads it
            target.__init__ = wrapper  # type: ignore[misc]
            target.__renamed__ = names  # type: ignore[attr-defined]
            return target
        return wrapper  # type: ignore[return-value]

    return decorate


@contextmanager
def old_names_shown() -> Iterator[None]:
    """Context in which each old name used is logged once, as a warning; commands run inside it."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, RenamedWarning):
            log.warning("%s", message)
        else:
            before(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=RenamedWarning)
        before, warnings.showwarning = warnings.showwarning, show
        yield
