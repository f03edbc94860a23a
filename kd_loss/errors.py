"""Errors that a user can mend: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. Commands print its text on one line and exit with code 2, without a traceback."""


def check_name(name: str, what: str) -> None:
    """Refuse a name that is not one plain folder name."""
    if not name or not all(c.isalnum() or c in "_-+." for c in name) or name.startswith("."):
        raise UserError(f"'{name}' cannot name {what}: letters, digits, _, -, + and . only")


def choose(value: str, choices: Iterable[str], what: str) -> str:
    """Return `value` if it is one of `choices`; otherwise raise a `UserError` with the nearest one.

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
    raise UserError(f"unknown {what} '{value}': {hint}valid: {', '.join(names)}")
