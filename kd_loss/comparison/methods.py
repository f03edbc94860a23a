"""The command `methods`: the registered methods as a table, in the terminal or as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kd_loss.distillation import METHODS, DistillationMethod
from kd_loss.distillation.base import parameters_of
from kd_loss.distillation.plugins import OF_YOUR_OWN, load_plugins
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import choose

COLUMNS = ("method", "objective", "teachers", "taps", "parameters", "source")
LEGEND = "S student, T teacher, y truth, e² a face's mean squared error, A feature maps; |…| is a mean over coordinates"
#: the reference methods come first
_FIRST = ("none", "kd_loss")


def method_rows(names: Iterable[str]) -> list[dict[str, str]]:
    """Return a row of `COLUMNS` for each method, from its class: docstring, teachers, taps, constructor."""
    return [_row(name, METHODS[name]) for name in names]


def in_order(names: Iterable[str]) -> list[str]:
    """Return `none` and `kd_loss`, then the others in order of registration."""
    return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def _row(name: str, cls: type[DistillationMethod]) -> dict[str, str]:
    text = inspect.getdoc(cls) or ""
    source = re.search(r"Source: (.*?\b(?:19|20)\d\d\b(?:, eq\. \d+)?)", text, flags=re.DOTALL)
    try:
        one: DistillationMethod | type[DistillationMethod] = cls()  # an instance, since taps may depend on parameters
    except TypeError:  # a parameter without a default
        one = cls
    student_taps, teacher_taps = (
        [tap for tap in taps if tap != "landmarks"] for taps in (one.student_taps, one.teacher_taps)
    )
    roles = ", ".join(cls.teacher_roles) or "none"
    parameters = {
        key: "" if default is inspect.Parameter.empty else str(default)
        for key, (_, default) in parameters_of(cls).items()
    }
    return {
        "method": name,
        "objective": " ".join(text.partition("\n\n")[0].split()),
        "teachers": f"any; {roles} by default" if cls.any_teachers else roles,
        "taps": "; ".join(
            f"{who}: {', '.join(taps)}" for who, taps in (("S", student_taps), ("T", teacher_taps)) if taps
        ),
        "parameters": ", ".join(f"{key}={value}" for key, value in parameters.items()),
        "source": " ".join(source[1].split()) if source else "",
    }


def markdown(rows: Iterable[dict[str, str]]) -> str:
    """Format the table as Markdown, with the vertical bars of formulae escaped."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [f"`{row[key]}`" if key in ("method", "parameters") and row[key] else row[key] for key in COLUMNS]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def run_methods(options: MethodsOptions) -> list[dict[str, str]]:
    """Print the table; return its rows."""
    load_plugins(options.plugin)
    rows = method_rows([choose(name, METHODS, "method", OF_YOUR_OWN) for name in options.names] or in_order(METHODS))
    if options.markdown:
        print(markdown(rows), end="")
        return rows
    table = Table(show_lines=True)
    for key in COLUMNS:
        table.add_column(key, overflow="fold", min_width=max(map(len, METHODS)) if key == "method" else None)
    for row in rows:
        table.add_row(*(Text(row[key].replace("`", "")) for key in COLUMNS))  # Text: the [ ] of formulae are not markup
    console = Console()
    Console(width=max(console.width, 150)).print(table)
    print(f"{LEGEND}\ntaps besides landmarks; parameters: --method-arg method.parameter=value; more in docs/methods.md")
    return rows


@dataclass(frozen=True)
class MethodsOptions(Options):
    """List the methods: objective, teachers, taps, parameters with their defaults, source."""

    names: list[str] = option([], "methods to list; all by default", positional=True)
    plugin: list[str] = option([], "Python files with custom methods")
    markdown: bool = option(False, "print the table as Markdown")
