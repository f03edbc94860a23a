"""From `--method`, `--set` and `--plugin` to methods, each with the teachers that it listens to."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kd_loss.distillation import METHODS, DistillationMethod, get_method
from kd_loss.system.configuration import weighted
from kd_loss.system.errors import UserError, choose

OF_YOUR_OWN = "; one of your own is known by --plugin FILE"


class Asked(NamedTuple):
    """A method as it is asked for: its name, settings, the roles that it listens to (none: its own choice), weight."""

    name: str
    settings: tuple[str, ...]
    listens: tuple[str, ...]
    weight: float


def read_method(text: str, what: str = "--method") -> Asked:
    """`srrl(alpha=0,beta=2)@tough,tolerant:0.1` -> name, ("alpha=0", "beta=2"), ("tough", "tolerant"), 0.1."""
    head, opened, rest = text.partition("(")
    inner, closed, tail = rest.rpartition(")")
    named, weight = weighted(head + tail, what)
    name, at, roles = named.partition("@")
    listens = tuple(role for role in roles.split(",") if role)
    if at and not listens:
        raise UserError(f"{what} {text}: no teacher is named behind the @, e.g. srrl@tough:0.1")
    pairs = [tuple(part.strip() for part in setting.partition("=")) for setting in split_outside(inner, ",")]
    if (opened and not (closed and all(key and sign for key, sign, _ in pairs))) or ")" in head + tail:
        raise UserError(f"{what} {text}: settings stand behind the name, e.g. 'srrl(alpha=0,beta=2)@tough:0.1'")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise UserError(f"{what} {text}: a setting is given twice")
    settings = tuple(f"{key}={value}" for key, _, value in pairs)
    return Asked(name.strip(), settings if opened else (), listens, weight)


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a character where it stands outside of brackets.

    >>> split_outside("a(x=[1,2],y=1)/b", "/"), split_outside("x=[1,2],y=1", ",")
    (['a(x=[1,2],y=1)', 'b'], ['x=[1,2]', 'y=1'])
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def split_methods(text: str) -> list[str]:
    """`"kd_loss+srrl(beta=1e+1):0.1"` -> its methods."""
    return split_outside(text, "+")


def name_of(methods: Sequence[str]) -> str:
    """What a run of these methods is called."""
    return "+".join(read_method(text).name for text in methods)


def load_plugins(files: Iterable[str]) -> None:
    """Import Python files that register methods; a file that was imported before is not imported again."""
    for text in files:
        path = Path(text).resolve()
        name = f"kd_loss_plugin_{path.stem}"
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
            continue
        spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
        if spec is None or spec.loader is None:
            raise UserError(f"--plugin {text}: no such Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        known = dict(METHODS)
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, UserError | KeyboardInterrupt):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            raise UserError(f"--plugin {text} does not import: {type(error).__name__}: {reason}") from None
        if known == METHODS:
            del sys.modules[name]
            raise UserError(f'--plugin {text} registers no method: is there a class with @register("name")?')


def parse_methods(methods: Sequence[str], settings: Iterable[str]) -> dict[DistillationMethod, float]:
    """`["kd_loss", "srrl@tough:0.1"]` and `["srrl.beta=0.5"]` -> method -> weight."""
    weights: dict[str, float] = {}
    listening: dict[str, tuple[str, ...]] = {}
    own: list[str] = []
    for text in methods:
        asked = read_method(text)
        name = choose(asked.name, METHODS, "method", OF_YOUR_OWN)
        if name in weights:
            raise UserError(f"--method {name} is given twice")
        weights[name], listening[name] = asked.weight, asked.listens
        own += [f"{name}.{setting}" for setting in asked.settings]
    parameters: dict[str, dict[str, Any]] = {name: {} for name in weights}
    for text in [*settings, *own]:  # a method's own settings win
        key, equals, value = text.partition("=")
        owner, dot, parameter = key.partition(".")
        if not equals or not dot or owner not in weights:
            raise UserError(
                f"--set {text} is not of the form method.parameter=value, method one of {', '.join(weights)}"
            )
        try:
            parameters[owner][parameter] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            parameters[owner][parameter] = value
    made = {}
    for name, weight in weights.items():
        method = get_method(name, parameters[name])
        method.listens = listening[name]
        check_listening(method)
        made[method] = weight
    return made


def check_listening(method: DistillationMethod) -> None:
    """Refuse `@` where a method listens to teachers of its own choice, or to none."""
    name = method.name_on_command_line
    if method.listens and not method.any_teachers:
        own = ", ".join(method.teacher_roles) or "none"
        raise UserError(f"--method {name}@{','.join(method.listens)}: it listens to its own teachers ({own})")
