"""Errors that a user can mend: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Bad input. Commands print its text on one line and exit with code 2, without a traceback."""


def check_name(name: str, what: str) -> None:
    """Refuse a name that is not one plain folder name."""
    if not name or not all(c.isalnum() or c in "_-+." for c in name) or name.startswith("."):
        raise UserError(f"'{name}' cannot name {what}: letters, digits, _, -, + and . only")


def choose(value: str, choices: Iterable[str], what: str, more: str = "") -> str:
    """Return `value` if it is one of `choices`; otherwise raise a `UserError` with the nearest one, and `more`.

    Upper and lower case, and `-` against `_`, do not matter (`mobilenetv2` finds `mobileNetV2`).
    """

    def fold(text: str) -> str:
        return text.lower().replace("-", "_")

    names = list(choices)
    folded = {fold(name): name for name in names}
    if fold(value) in folded:
        return folded[fold(value)]
    near = difflib.get_close_matches(fold(value), list(folded), n=1)
    hint = f"did you mean '{folded[near[0]]}'? " if near else ""
    raise UserError(f"unknown {what} '{value}': {hint}valid: {', '.join(names)}{more}")


def line_in(file: str, error: BaseException) -> int | None:
    """The line of somebody's own Python file in which an exception came up; None where it was not in there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def first_line(error: BaseException, most: int = 160) -> str:
    """Returns what an exception of somebody else's code says, fit for the one line of a `UserError`.

    Args:
        error: the exception.
        most: characters to keep.

    Returns:
        The first line of its text; the name of its class where it has no text.

    >>> first_line(KeyError("head")), first_line(EOFError())
    ('head', 'EOFError')
    """
    # the text of a KeyError is the `repr` of its key
    try:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    except Exception:  # somebody's own `__str__`
        text = ""
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:most]


def disk_error(error: OSError, where: Path) -> UserError:
    """The one line for a failed write: a full disk, a read-only folder or whatever else it was."""
    # NumPy does not say why it wrote less than it should
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and "requested and" in str(error)):
        return UserError(f"the disk is full at {where}; free some space or choose another folder")
    return UserError(f"cannot write {where}: {error.strerror or error}")
