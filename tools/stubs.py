"""Makes `kd_loss/api.pyi` of the options classes: what type checkers and editors know of the commands as functions.

`python -m tools.stubs` after an option was added or changed; a test compares the file with a fresh one.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

STUB = Path(__file__).parents[1] / "kd_loss" / "api.pyi"
HEADER = '''\
"""Made by `python -m tools.stubs` of the options classes: not to be edited."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import keras
import numpy as np

from kd_loss.inference.result import FaceLandmarks
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.files import Json
{imports}

_Text: TypeAlias = str | PathLike[str]
'''


#: (function, option) -> what it takes beside what the command line takes
OBJECTS = {("prepare", "source"): "Iterable[Any]", ("prepare", "scheme"): "LandmarkScheme"}


def choices_of(field: dataclasses.Field[Any], default: Any) -> str:
    """The type of one text of a field: `Literal[…]` of its choices, beside any other where a plug-in adds some."""
    choices = field.metadata["choices"]
    if not choices:
        return "_Text"
    texts = list(dict.fromkeys([*([default] if isinstance(default, str) else []), *choices]))
    literal = f"Literal[{', '.join(json.dumps(text) for text in texts)}]"
    return f"{literal} | str" if field.metadata["more"] else literal


def annotation(field: dataclasses.Field[Any], hint: Any) -> str:
    """The type of a keyword: wider than the field's, as paths may be texts, and a list one value or any sequence.

    >>> annotation(dataclasses.field(metadata={"choices": ("a", "b"), "more": False}), list[str])
    'Literal["a", "b"] | Sequence[Literal["a", "b"]]'
    """
    if isinstance(hint, types.UnionType):
        return " | ".join("None" if one is types.NoneType else annotation(field, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        one = annotation(field, typing.get_args(hint)[0])
        return f"{one} | Sequence[{one}]"
    return choices_of(field, field.default) if hint is str else "_Text" if hint is Path else hint.__name__


def shown_default(field: dataclasses.Field[Any]) -> str:
    """The default as a stub has it: plain values, `...` for paths and lists."""
    value = field.default
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value) if value is None or isinstance(value, bool | int | float) else "..."


def signatures(function: ast.FunctionDef, cls: type) -> str:
    """The two overloads of a command's function: one object of its options class, or keywords.

    Args:
        function: its definition in `api.py`, which has what it returns and the keywords that are no options.
        cls: the options class.
    """
    from kd_loss.system.configuration import fields_of

    hints, returns = typing.get_type_hints(cls), ast.unparse(function.returns) if function.returns else "None"
    own = [
        f"{one.arg}: {ast.unparse(one.annotation)} = ..."
        for one in function.args.kwonlyargs
        if one.annotation is not None
    ]
    fields = fields_of(cls)
    lines = {}
    for field in fields:
        more = OBJECTS.get((function.name, field.name))
        kind = annotation(field, hints[field.name]) + (f" | {more}" if more else "")
        lines[field.name] = f"{field.name}: {kind} = {shown_default(field)}"
    first = [lines.pop(field.name) for field in fields if field.metadata["positional"]]
    forms = ([f"options: {cls.__name__}", "/", *(["*"] if own else []), *own], [*first, "*", *lines.values(), *own])
    return "\n".join(
        f"@overload\ndef {function.name}(\n" + "".join(f"    {line},\n" for line in form) + f") -> {returns}: ..."
        for form in forms
    )


def stub() -> str:
    """The text of `api.pyi`."""
    from kd_loss import api
    from kd_loss.cli import COMMANDS, resolve

    parts: list[str] = []
    classes: dict[str, list[str]] = {}  # module -> options classes
    for node in ast.parse(inspect.getsource(api)).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            decorator = node.decorator_list[0]
            assert isinstance(decorator, ast.Call)
            cls = resolve(COMMANDS[ast.literal_eval(decorator.args[0])].options)
            classes.setdefault(cls.__module__, []).append(cls.__name__)
            parts.append(signatures(node, cls))
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(classes.items())]
    return HEADER.format(imports="\n".join(imports)) + "\n" + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
