"""KD-Loss as a method; its formulae are in `kd_loss.distillation.kd_loss_formulae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.base import (
    DistillationMethod,
    Taps,
    Tensor,
    check_positive,
    per_sample,
    register,
)
from kd_loss.distillation.kd_loss_formulae import VARIANTS, WEIGHTS, coordinate_terms
from kd_loss.system.errors import choose


def kd_loss_terms(
    y_true: Tensor, y_pred: Tensor, tough: Tensor, tolerant: Tensor, variant: str = "paper"
) -> dict[str, Tensor]:
    """The three terms of KD-Loss per sample, unweighted: `main`, `tough`, `tolerant`, each (B,).

    Args:
        y_true, y_pred, tough, tolerant: truth and predictions of student and teachers, all (B, 2K) or
            all (B, K, 2), normalised.
        variant: `paper` or `code`, see `kd_loss.distillation.kd_loss_formulae`.
    """
    variant = choose(variant, VARIANTS, "variant of kd_loss")
    truth = ops.cast(y_true, "float32")
    d, hard, soft = (ops.abs(ops.cast(p, "float32") - truth) for p in (y_pred, tough, tolerant))
    return {name: per_sample(values) for name, values in coordinate_terms(d, hard, soft, variant, ops).items()}


@register("kd_loss")
class KDLoss(DistillationMethod):
    """`main·L_main + tough·A_tough + tolerant·A_tolerant`: pulls where a teacher is better, rewards where he is passed.

    See `kd_loss.distillation.kd_loss_formulae` for the terms.

    Shapes: landmarks of student, truth and both teachers (B, K, 2), normalised; result (B,).
    Source: Fard & Mahoor 2022 (figures: `paper`; released `custom_Losses.py`: `code`).
    """

    teacher_roles = ("tough", "tolerant")
    term_names = ("main", "tough", "tolerant")

    def __init__(
        self,
        variant: str = "paper",
        main: float = WEIGHTS[0],
        tough: float = WEIGHTS[1],
        tolerant: float = WEIGHTS[2],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive("kd_loss", main=main, tough=tough, tolerant=tolerant)
        self.variant = choose(variant, VARIANTS, "variant of kd_loss")
        self.main, self.tough, self.tolerant = main, tough, tolerant

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """2.5, 1, 1 by default, the paper's drawing; the released code has 2, 1, 1 (see `kd_loss_formulae`)."""
        return {"main": self.main, "tough": self.tough, "tolerant": self.tolerant}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main`, `tough` and `tolerant`."""
        predictions = (teachers[role]["landmarks"] for role in self.teacher_roles)
        return kd_loss_terms(y_true, student["landmarks"], *predictions, variant=self.variant)

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "variant": self.variant, **self.weights_of_terms}
