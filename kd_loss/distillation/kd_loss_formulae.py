"""The formulae of KD-Loss, for NumPy arrays and Keras tensors.

A tough and a tolerant teacher assist per coordinate.

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

Consequences: landmarks are normalised, so d is far below 0.5 and the paper's main loss is plain L1; the
code's main loss has slope 3 where the student is better than the tolerant teacher and only 2 d (0.1 at
d = 0.05) where it is worse, so that the largest errors are left mostly to the assistive terms. Both
teachers' rewards together have a slope of −2 · 0.5 / 0.4 = −2.5 at d = 0 in the paper's form: with a
weight of the main loss below 2.5 (the figures have 2.5, the code 2) the truth is a local maximum, and every
coordinate's minimum lies beside it, at d ≈ 0.1 t for 2. So 2.5 is the default.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

VARIANTS = ("paper", "code")
#: variant -> role -> (α, α⁻)
ALPHAS = {
    "paper": {"tough": (1.0, -0.5), "tolerant": (1.0, -0.5)},
    "code": {"tough": (1.9, -0.45), "tolerant": (1.8, -0.40)},
}
BETA = {"paper": 0.4, "code": 0.15}
#: of main, tough and tolerant: those of the paper's drawing; the released code has 2, 1, 1
WEIGHTS = (2.5, 1.0, 1.0)


def assistive_loss(
    d: Any, t: Any, alpha: float, alpha_minus: float, beta: float, ramp: bool, ops: ModuleType = np
) -> Any:
    """The assistive loss of one teacher, coordinate by coordinate; d, t ≥ 0 of one shape, in float32.

    * R_P, d > t: `α (d − t)`, pulls the student towards the truth;
    * R_N, β t ≤ d ≤ t: `α⁻ (t − d)`, negative: the reward for beating the teacher;
    * R_L, d < β t: the same times `d / (β t)` where `ramp` (paper), or 0 (code).

    Args:
        d: |prediction − truth| of the student, at least 0, float32, of any shape.
        t: the same of the teacher, of d's shape.
        alpha: α, slope where the student is worse than the teacher.
        alpha_minus: α⁻, slope where it is better; negative.
        beta: β, 0…1: share of t below which the teacher has little or no influence.
        ramp: whether the influence falls linearly to 0 below β t (paper) or is 0 there (code).
        ops: the array module: `numpy` or `keras.ops`.

    >>> round(float(assistive_loss(0.03, 0.02, 1.9, -0.45, 0.15, ramp=False)), 6)   # 1.9 · 0.01
    0.019
    """
    boundary = beta * t
    positive = alpha * (d - t)
    negative = alpha_minus * (t - d)
    # where the teacher is exact, b = 0 and no d is below it: any divisor but 0 will do
    low = negative * d / ops.where(boundary > 0, boundary, 1.0) if ramp else ops.zeros_like(d)
    return ops.where(d > t, positive, ops.where(d >= boundary, negative, low))


def main_loss(d: Any, tolerant: Any, variant: str, ops: ModuleType = np) -> Any:
    """The main loss, coordinate by coordinate; `tolerant` is the tolerant teacher's error (code only).

    Paper: d up to 0.5, then d² + 0.25. Code: 3 d where d ≤ l, else d² + 3 l − l².
    """
    if variant == "paper":
        return ops.where(d <= 0.5, d, ops.square(d) + 0.25)
    return ops.where(d <= tolerant, 3 * d, ops.square(d) + 3 * tolerant - ops.square(tolerant))


def coordinate_terms(d: Any, tough: Any, tolerant: Any, variant: str, ops: ModuleType = np) -> dict[str, Any]:
    """`main`, `tough` and `tolerant` of every coordinate, unweighted, from the three distances to the truth."""
    beta, ramp = BETA[variant], variant == "paper"
    return {
        "main": main_loss(d, tolerant, variant, ops),
        "tough": assistive_loss(d, tough, *ALPHAS[variant]["tough"], beta, ramp, ops),
        "tolerant": assistive_loss(d, tolerant, *ALPHAS[variant]["tolerant"], beta, ramp, ops),
    }
