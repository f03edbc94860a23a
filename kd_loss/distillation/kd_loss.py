"""KD-Loss: a tough and a tolerant teacher assist per coordinate.

Fard & Mahoor, "Facial landmark points detection using Knowledge Distillation-based Neural Networks",
CVIU 215 (2022) 103316, arXiv 2111.07047; code: github.com/aliprf/KD-Loss.

Per coordinate, d = |prediction − truth|, t = |teacher − truth|, b = β t. The paper reflects the teacher
to the student's side of the truth, so only these distances matter: the loss re-weights |error| by how
well the teachers do, it does not imitate the direction of their errors.

Where the paper's figures and the released code disagree:

================  ===========================================  ========================================
                  paper (`variant="paper"`)                    code (`variant="code"`)
================  ===========================================  ========================================
β                 0.4                                          0.15
α, α⁻             1, −0.5 for both teachers                    1.9, −0.45 (tough), 1.8, −0.40 (tolerant)
d < b             weight falls linearly from α⁻ to 0           weight 0: the loss jumps at d = b
main              d up to 0.5, then d² + 0.25 (C¹)             3 d up to the tolerant teacher's error l,
                                                               then d² + 3 l − l²
================  ===========================================  ========================================

The rectangles about truth and teacher are taken coordinate by coordinate, so that they are defined for any target
(N, C): of a pose (2, 3) they lie about each of the six standardised numbers, and the knee of the paper's main loss,
0.5, is half a deviation of the training faces.

What follows: landmarks are normalised, so d is far below 0.5 and the paper's main loss is plain L1; the
code's main loss has slope 3 where the student is better than the tolerant teacher and only 2 d (0.1 at
d = 0.05) where it is worse, so that the largest errors are left mostly to the assistive terms. Both
teachers' rewards together have a slope of −2 · 0.5 / 0.4 = −2.5 at d = 0 in the paper's form: with a
weight of the main loss below 2.5 (the figures have 2.5, the code 2) the truth is a local maximum, and every
coordinate's minimum lies beside it, at d ≈ 0.1 t for 2. So 2.5 is the default.
"""

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
from kd_loss.errors import choose

VARIANTS = ("paper", "code")
#: variant -> role -> (α, α⁻)
ALPHAS = {
    "paper": {"tough": (1.0, -0.5), "tolerant": (1.0, -0.5)},
    "code": {"tough": (1.9, -0.45), "tolerant": (1.8, -0.40)},
}
BETA = {"paper": 0.4, "code": 0.15}


def assistive_loss(d: Tensor, t: Tensor, alpha: float, alpha_minus: float, beta: float, ramp: bool) -> Tensor:
    """The assistive loss of one teacher, coordinate by coordinate; d, t ≥ 0 of one shape.

    * R_P, d > t: `α (d − t)`, pulls the student towards the truth;
    * R_N, β t ≤ d ≤ t: `α⁻ (t − d)`, negative: the reward for having passed the teacher;
    * R_L, d < β t: the same times `d / (β t)` where `ramp` (paper), or 0 (code).

    >>> round(float(assistive_loss(0.03, 0.02, 1.9, -0.45, 0.15, ramp=False)), 6)   # 1.9 · 0.01
    0.019
    """
    d, t = ops.convert_to_tensor(d, "float32"), ops.convert_to_tensor(t, "float32")
    boundary = beta * t
    positive = alpha * (d - t)
    negative = alpha_minus * (t - d)
    # where the teacher is exact, b = 0 and no d is below it: any divisor but 0 will do
    low = negative * d / ops.where(boundary > 0, boundary, 1.0) if ramp else ops.zeros_like(d)
    return ops.where(d > t, positive, ops.where(d >= boundary, negative, low))


def main_loss(d: Tensor, tolerant: Tensor, variant: str) -> Tensor:
    """The main loss, coordinate by coordinate; `tolerant` is the tolerant teacher's error (code only).

    Paper: d up to 0.5, then d² + 0.25. Code: 3 d where d ≤ l, else d² + 3 l − l².
    """
    d, knee = ops.convert_to_tensor(d, "float32"), ops.convert_to_tensor(tolerant, "float32")
    if variant == "paper":
        return ops.where(d <= 0.5, d, ops.square(d) + 0.25)
    return ops.where(d <= knee, 3 * d, ops.square(d) + 3 * knee - ops.square(knee))


def kd_loss_terms(
    y_true: Tensor, y_pred: Tensor, tough: Tensor, tolerant: Tensor, variant: str = "paper"
) -> dict[str, Tensor]:
    """The three terms of KD-Loss per sample, unweighted: `main`, `tough`, `tolerant`, each (B,).

    Args:
        y_true, y_pred, tough, tolerant: truth and predictions of student and teachers, all (B, 2K) or
            all (B, K, 2), normalised.
        variant: `paper` or `code`, see the module's text.
    """
    variant = choose(variant, VARIANTS, "variant of kd_loss")
    truth = ops.cast(y_true, "float32")
    d, hard, soft = (ops.abs(ops.cast(p, "float32") - truth) for p in (y_pred, tough, tolerant))
    beta, ramp = BETA[variant], variant == "paper"
    return {
        "main": per_sample(main_loss(d, soft, variant)),
        "tough": per_sample(assistive_loss(d, hard, *ALPHAS[variant]["tough"], beta, ramp)),
        "tolerant": per_sample(assistive_loss(d, soft, *ALPHAS[variant]["tolerant"], beta, ramp)),
    }


@register("kd_loss")
class KDLoss(DistillationMethod):
    """`main·L_main + tough·A_tough + tolerant·A_tolerant`: pulls where a teacher is better, rewards where he is passed.

    See the module's text for the terms.

    Shapes: landmarks of student, truth and both teachers (B, K, 2), normalised; result (B,).
    Source: Fard & Mahoor 2022 (figures: `paper`; released `custom_Losses.py`: `code`).
    """

    teacher_roles = ("tough", "tolerant")
    term_names = ("main", "tough", "tolerant")

    def __init__(
        self,
        variant: str = "paper",
        main: float = 2.5,
        tough: float = 1.0,
        tolerant: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive("kd_loss", main=main, tough=tough, tolerant=tolerant)
        self.variant = choose(variant, VARIANTS, "variant of kd_loss")
        self.main, self.tough, self.tolerant = main, tough, tolerant

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """2.5, 1, 1 by default, the paper's drawing; the released code has 2, 1, 1 (see the module's text)."""
        return {"main": self.main, "tough": self.tough, "tolerant": self.tolerant}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main`, `tough` and `tolerant`."""
        predictions = (teachers[role]["landmarks"] for role in self.teacher_roles)
        return kd_loss_terms(y_true, student["landmarks"], *predictions, variant=self.variant)

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "variant": self.variant, **self.weights_of_terms}
