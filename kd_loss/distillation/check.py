"""Whether a method keeps the contract of `base`, on two made-up faces, before a training has begun."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.base import DistillationMethod
from kd_loss.errors import UserError

#: what a history logs beside the terms
RESERVED = ("loss", "nme", "degrees", "mixed", "epoch", "seconds", "lr", "learning_rate")
Shapes = Mapping[str, tuple[int, ...]]


def check_names(method: DistillationMethod) -> None:
    """Refuse terms that cannot be logged and weights of terms that there are not."""
    name, terms = method.name_on_command_line, tuple(method.term_names)
    for term in terms:
        if term in RESERVED or term.startswith("val_") or not term.isidentifier():
            raise UserError(f"the method {name} calls a term '{term}', which means something else in a history")
    for term in method.weights_of_terms:
        if term not in terms:
            raise UserError(
                f"the method {name} gives a weight to '{term}'; its terms are: {', '.join(terms)} (term_names)"
            )
    for term in method.distilling_terms:
        if term not in terms:
            raise UserError(f"the method {name} has no term '{term}', which its distilling_terms name")


def check_terms(
    method: DistillationMethod, shape: tuple[int, int], student: Shapes, teachers: Mapping[str, Shapes]
) -> None:
    """Ask a method about two faces with targets (N, C) of `shape` and taps of the given shapes, all made up.

    The shapes are without the batch.

    Raises:
        UserError: it raises, or returns other terms than it names, or something else than one finite value a face.
    """
    name = method.name_on_command_line
    rng = np.random.default_rng(0)

    def made_up(shapes: Shapes) -> dict[str, object]:
        return {
            tap: ops.convert_to_tensor(rng.uniform(-0.3, 0.3, (2, *shape)).astype(np.float32))
            for tap, shape in shapes.items()
        }

    truth = ops.convert_to_tensor(rng.uniform(-0.3, 0.3, (2, *shape)).astype(np.float32))
    try:
        values = method.terms(truth, made_up(student), {role: made_up(taps) for role, taps in teachers.items()})
    except UserError:
        raise
    except Exception as error:  # somebody's own code
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"the method {name} fails on two faces: {type(error).__name__}: {reason}") from error
    if not isinstance(values, Mapping) or set(values) != set(method.term_names):
        given = ", ".join(values) if isinstance(values, Mapping) else type(values).__name__
        raise UserError(f"the method {name} returns {given}; its term_names are: {', '.join(method.term_names)}")
    for term, value in values.items():
        if tuple(value.shape) != (2,):
            raise UserError(
                f"the method {name} returns {tuple(value.shape)} for '{term}' of two faces; one value a face is "
                "wanted, (B,): see per_sample"
            )
        if not np.isfinite(keras.ops.convert_to_numpy(value)).all():
            raise UserError(f"the method {name} returns a '{term}' that is not finite")
