"""KD-Loss as a method; its formulae are in `kd_loss.distillation.kd_loss_formulae`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import (
    DistillationMethod,
    Taps,
    Tensor,
    flat,
    per_sample,
    register,
)
from kd_loss.distillation.kd_loss_formulae import VARIANTS, WEIGHTS, coordinate_terms
from kd_loss.system.errors import choose


@of_tensors
def kd_loss_terms(
    y_true: Tensor, y_pred: Tensor, tough: Tensor, tolerant: Tensor, variant: str = "paper"
) -> dict[str, Tensor]:
    """`L_main`, `A_tough` and `A_tolerant` of `kd_loss`, separate and unweighted.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        tough: the tough teacher's prediction, likewise.
        tolerant: the tolerant teacher's prediction, likewise.
        variant: `paper` or `code`, see `kd_loss.distillation.kd_loss_formulae`.

    Returns:
        `main`, `tough` and `tolerant`, (B,) float32 each.

    Raises:
        UserError: the variant is unknown, or the sizes of the predictions differ.

    >>> terms = kd_loss_terms([[0.0, 0.0]], [[0.5, 0.0]], [[0.25, 0.0]], [[1.0, 0.0]])
    >>> {name: float(value[0]) for name, value in terms.items()}   # halves of 0.5, 0.5 − 0.25 and −0.5·(1 − 0.5)
    {'main': 0.25, 'tough': 0.125, 'tolerant': -0.125}
    """
    variant = choose(variant, VARIANTS, "variant of kd_loss")
    truth, *predictions = flat(y_true, y_pred, tough, tolerant)
    d, hard, soft = (ops.abs(prediction - truth) for prediction in predictions)
    return {name: per_sample(values) for name, values in coordinate_terms(d, hard, soft, variant, ops).items()}


@of_tensors
def kd_loss(
    y_true: Tensor,
    y_pred: Tensor,
    tough: Tensor,
    tolerant: Tensor,
    variant: str = "paper",
    main: float = WEIGHTS[0],
    tough_weight: float = WEIGHTS[1],
    tolerant_weight: float = WEIGHTS[2],
) -> Tensor:
    """`main·L_main + tough_weight·A_tough + tolerant_weight·A_tolerant`, of which each term is a mean over coordinates.

    Per coordinate, with d = |prediction − truth| and a teacher's t likewise: L_main is d; a teacher adds
    `d − t` where the student is worse and `−0.5·(t − d)` where it is better, which vanishes again below d = 0.4 t
    (`paper`; for the differences of `code` see `kd_loss.distillation.kd_loss_formulae`).

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        tough: the tough teacher's prediction, likewise.
        tolerant: the tolerant teacher's prediction, likewise.
        variant: `paper` or `code`.
        main: weight of L_main, at least 0; in the paper's form the truth is the minimum from 2.5 upwards.
        tough_weight: weight of A_tough, at least 0.
        tolerant_weight: weight of A_tolerant, at least 0.

    Returns:
        (B,) float32, in crop sides; negative where a student is better than its teachers.

    Raises:
        UserError: the variant is unknown, or the sizes of the predictions differ.

    Source:
        Fard & Mahoor, CVIU 215 (2022) 103316.

    >>> float(kd_loss([[0.0, 0.0]], [[0.5, 0.0]], [[0.25, 0.0]], [[1.0, 0.0]])[0])   # 2.5·0.25 + 0.125 − 0.125
    0.625
    """
    terms = kd_loss_terms(y_true, y_pred, tough, tolerant, variant)
    weights = (main, tough_weight, tolerant_weight)
    return sum(weight * value for weight, value in zip(weights, terms.values(), strict=True))


@register("kd_loss")
class KDLoss(DistillationMethod):
    """`main·L_main + tough·A_tough + tolerant·A_tolerant`: a penalty where a teacher is better, else a reward.

    See `kd_loss.losses.kd_loss` for the terms.

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
        self._not_negative(main=main, tough=tough, tolerant=tolerant)
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
