"""Checks that a method fulfils the contract of `base`, on two synthetic faces, before a training begins."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.base import DistillationMethod
from kd_loss.system.errors import UserError, first_line, line_in

#: columns of a history besides the terms
RESERVED = ("loss", "nme", "degrees", "mixed", "epoch", "seconds", "lr", "learning_rate")
Shapes = Mapping[str, tuple[int, ...]]


def check_names(method: DistillationMethod) -> None:
    """Raise for terms that cannot be logged and weights of terms that do not exist."""
    name, terms = method.name_on_command_line, tuple(method.term_names)
    for term in terms:
        if term in RESERVED or term.startswith("val_") or not term.isidentifier():
            raise UserError(f"the method {name} names a term '{term}', which is a reserved key of the history")
    for term in method.weights_of_terms:
        if term not in terms:
            raise UserError(
                f"the method {name} gives a weight to '{term}'; its terms are: {', '.join(terms)} (term_names)"
            )
    for term in method.distilling_terms:
        if term not in terms:
            raise UserError(f"the method {name} has no term '{term}', which its distilling_terms name")


@contextmanager
def method_errors(method: DistillationMethod, when: str, hint: str = "", compiled: bool = False) -> Iterator[None]:
    """Convert exceptions of a method's own code to one line, with file and line number."""
    try:
        yield
    except UserError:
        raise
    except Exception as raised:
        error: BaseException = raised
        while compiled and error.__context__ is not None:  # Keras wraps the method's exception in its own
            error = error.__context__
        text = first_line(error)
        file = inspect.unwrap(type(method).terms).__code__.co_filename
        line = line_in(file, error)
        where = "" if line is None else f" ({Path(file).name}, line {line})"
        kind = type(error).__name__
        words = kind if text == kind else f"{kind}: {text}"
        suffix = f"; {hint}" if hint and isinstance(error, KeyError) else ""
        raise UserError(f"the method {method.name_on_command_line} fails {when}{where}: {words}{suffix}") from raised


def attach(method: DistillationMethod, student: Any, teachers: Mapping[str, Any]) -> None:
    """Attach the networks to a method; raise `UserError` for exceptions of its own code."""
    with method_errors(method, "in attach"):
        method.attach(student, teachers)


def check_terms(
    method: DistillationMethod, shape: tuple[int, int], student: Shapes, teachers: Mapping[str, Shapes]
) -> None:
    """Call a method on two synthetic faces with targets (N, C) of `shape` and taps of the given shapes.

    Then compile it as in a training. The shapes exclude the batch.

    Raises:
        UserError: it raises, returns other terms than it declares, or returns anything but one finite value per face.
    """
    name = method.name_on_command_line
    rng = np.random.default_rng(0)

    def numbers(shape: tuple[int, ...]) -> Any:
        return ops.convert_to_tensor(rng.uniform(-0.3, 0.3, (2, *shape)).astype(np.float32))

    def faces(made: Any) -> tuple[Any, dict[str, Any], dict[str, dict[str, Any]]]:
        teacher_taps = {role: {tap: made(shape) for tap, shape in taps.items()} for role, taps in teachers.items()}
        return made(shape), {tap: made(shape) for tap, shape in student.items()}, teacher_taps

    there = "; ".join(f"{who}: {', '.join(taps)}" for who, taps in {"student": student, **teachers}.items())
    with method_errors(method, "on two faces", f"the taps that it names are {there}"):
        values = method.terms(*faces(numbers))
    if not isinstance(values, Mapping) or set(values) != set(method.term_names):
        given = ", ".join(values) if isinstance(values, Mapping) else type(values).__name__
        raise UserError(f"the method {name} returns {given}; its term_names are: {', '.join(method.term_names)}")
    for term, value in values.items():
        if tuple(value.shape) != (2,):
            raise UserError(
                f"the method {name} returns {tuple(value.shape)} as '{term}' of two faces; expected one value "
                "per face, (B,): see per_sample"
            )
        if not np.isfinite(keras.ops.convert_to_numpy(value)).all():
            raise UserError(f"the method {name} returns a '{term}' that is not finite")
    with method_errors(method, "when it is compiled", compiled=True):
        method.compute_output_spec(*faces(lambda shape: keras.KerasTensor((2, *shape), "float32")))
