"""Errors that the user can fix: one line with what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Bad input. Commands print its text on one line and exit with code 2, without a traceback."""


def check_name(name: str, what: str) -> None:
    """Raise a `UserError` for a name that is not a single plain folder name."""
    if not isinstance(name, str):
        raise UserError(f"a {type(name).__name__} cannot name {what}: a text is wanted")
    if not name or not all(c.isalnum() or c in "_-+." for c in name) or name.startswith("."):
        raise UserError(f"'{name}' cannot name {what}: letters, digits, _, -, + and . only")


def choose(value: str, choices: Iterable[str], what: str, more: str = "") -> str:
    """Return `value` if it is one of `choices`; otherwise raise a `UserError` with the nearest one, and `more`.

    Case and the difference between `-` and `_` are ignored (`mobilenetv2` finds `mobileNetV2`).
    """
    if not isinstance(value, str):
        raise UserError(f"{what} is a name, not {type(value).__name__}")

    def fold(text: str) -> str:
        return text.lower().replace("-", "_")

    names = list(choices)
    folded = {fold(name): name for name in names}
    if fold(value) in folded:
        return folded[fold(value)]
    if len(value) > 200:
        value = value[:60] + "…"
    near = difflib.get_close_matches(fold(value), list(folded), n=1)
    hint = f"did you mean '{folded[near[0]]}'? " if near else ""
    raise UserError(f"unknown {what} '{value}': {hint}valid: {', '.join(names)}{more}")


def line_in(file: str, error: BaseException) -> int | None:
    """The line of a Python file at which an exception was raised; None if it was raised elsewhere."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def first_line(error: BaseException, most: int = 160) -> str:
    """Returns the message of a third-party exception, shortened to fit the one line of a `UserError`.

    Args:
        error: the exception.
        most: maximum number of characters.

    Returns:
        The first line of its message; the name of its class if the message is empty.

    >>> first_line(KeyError("head")), first_line(EOFError())
    ('head', 'EOFError')
    """
    # the text of a KeyError is the `repr` of its key
    try:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    except Exception:  # a third-party `__str__`
        text = ""
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:most]


def disk_error(error: OSError, where: Path) -> UserError:
    """The `UserError` for a failed write: a full disk, a read-only folder or any other cause."""
    # NumPy does not report why it wrote less than requested
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and "requested and" in str(error)):
        return UserError(f"the disk is full at {where}; free some space or choose another folder")
    return UserError(f"cannot write {where}: {error.strerror or error}")
