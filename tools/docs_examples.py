"""Extension of Griffe, which reads docstrings for the site: their examples (`>>> …`) become blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: lines from a prompt to the next empty line, with their indentation
EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
#: headings under which Griffe finds examples by itself
SECTION = re.compile(r"^Examples?:$", re.MULTILINE)


def fence(text: str) -> str:
    r"""A docstring with its examples fenced, without doctest's own comments.

    >>> fence("Sum.\n\n>>> 1 + 1  # doctest: +SKIP\n2\n").splitlines()[2:]
    ['```pycon', '>>> 1 + 1', '2', '```']
    """
    if SECTION.search(text):
        return text
    text = re.sub(r" *# doctest: .*", "", text)
    return EXAMPLE.sub(lambda found: f"{found['indent']}```pycon\n{found[0]}\n{found['indent']}```", text)


class Examples(griffe.Extension):
    """Fences the examples of every docstring when it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring in place."""
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)
