"""Attentive imitation and attentive hints: a teacher is weighted by its accuracy on each face.

Saputra, Gusmao, Almalioglu, Markham & Trigoni, "Distilling Knowledge From a Deep Pose Regressor Network",
ICCV 2019 (arXiv 1908.00858); the other forms are in `kd_loss.distillation.imitation`. Notation: S student, T teacher,
y truth, e² a mean over the coordinates of a squared difference.

In the functions landmarks are (B, K, 2) or (B, 2K), normalised: in crop sides, −0.5…0.5 on the crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import Taps, Tensor, mean_squared_error, register
from kd_loss.distillation.features import hint
from kd_loss.distillation.imitation import Blend, blend
from kd_loss.distillation.partial import ANNOTATED, error_where_annotated
from kd_loss.system.errors import UserError


@of_tensors
def attention_weight(y_true: Tensor, teacher: Tensor, eta: float, annotated: Tensor | None = None) -> Tensor:
    """`Φ = max(0, 1 − e²(T, y)/η)`: the trust in a teacher on each face.

    By the paper's formula the worst face of the training set has Φ = −min/(max − min) ≤ 0; Φ is clamped, since a
    student should not move away from a teacher for being wrong.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        teacher: the teacher's prediction, likewise.
        eta: η, above 0: max − min of e²(T, y) over the training set.
        annotated: (B, K), 1 for the points on which the teacher is judged, 0 for others; None for all.

    Returns:
        (B,) float32, 0…1.

    Source:
        Saputra et al., ICCV 2019, eq. 7.

    >>> float(attention_weight([[0.0, 0.0]], [[0.5, 0.5]], eta=1.0)[0])
    0.75
    """
    return ops.maximum(0.0, 1.0 - error_where_annotated(y_true, teacher, annotated) / eta)


@of_tensors
def attentive_imitation(y_true: Tensor, y_pred: Tensor, teacher: Tensor, eta: float, alpha: float = 0.5) -> Tensor:
    """`α·e²(S, y) + (1 − α)·Φ·e²(S, T)`, `Φ = max(0, 1 − e²(T, y)/η)`: imitates where the teacher is good.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        eta: η, above 0: max − min of e²(T, y) over the training set.
        alpha: α, 0…1.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Saputra et al., ICCV 2019, eq. 8.

    >>> float(attentive_imitation([[0.0, 0.0]], [[1.0, 1.0]], [[0.5, 0.5]], eta=1.0)[0])   # 0.5·1 + 0.5·0.75·0.25
    0.59375
    """
    return blend(y_true, y_pred, attended_imitation(y_true, y_pred, teacher, eta), alpha)


def attended_imitation(
    y_true: Tensor, y_pred: Tensor, teacher: Tensor, eta: float, annotated: Tensor | None = None
) -> Tensor:
    """`Φ·e²(S, T)`, the teacher's term of `attentive_imitation`, of whose arguments it has all but α; (B,).

    `annotated`: see `attention_weight`.
    """
    return attention_weight(y_true, teacher, eta, annotated) * mean_squared_error(teacher, y_pred)


@of_tensors
def attentive_hint(
    y_true: Tensor,
    teacher: Tensor,
    features: Tensor,
    teacher_features: Tensor,
    eta: float,
    annotated: Tensor | None = None,
) -> Tensor:
    """`Φ·e²(Ψ_T, r(Ψ_S)) / mean Ψ_T²`, `Φ = max(0, 1 − e²(T, y)/η)`: a hint where the teacher is good.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        teacher: the teacher's landmarks, likewise.
        features: r(Ψ_S), the student's features behind a connector to the teacher's channels C, (B, C) or (B,
            h, w, C).
        teacher_features: Ψ_T, (B, C) or (B, h, w, C) of any height and width.
        eta: η, above 0: max − min of e²(T, y) over the training set.
        annotated: (B, K), 1 for the points on which the teacher is judged, 0 for others; None for all.

    Returns:
        (B,) float32, at least 0; 1 where the connector returns 0 and the teacher is exact.

    Source:
        Saputra et al., ICCV 2019, eq. 9.

    >>> round(float(attentive_hint([[0.0, 0.0]], [[0.5, 0.5]], [[0.0, 0.0]], [[9.0, 9.0]], eta=1.0)[0]), 3)
    0.75
    """
    return attention_weight(y_true, teacher, eta, annotated) * hint(features, teacher_features)


class _Attentive(Blend):
    """Base of methods that use η = max − min of the teachers' errors over the whole training set."""

    needs_errors = True

    def __init__(self, alpha: float = 0.5, percentile: float = 100.0, **kwargs: Any):
        super().__init__(alpha, **kwargs)
        if not 50 < percentile <= 100:
            raise UserError(f"{self.name_on_command_line}.percentile = {percentile} is not in 50…100")
        self.percentile = percentile
        self.etas: dict[str, float] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Compute η from the errors measured before training."""
        super().attach(student, teachers)
        for role, teacher in teachers.items() if self.needs_errors else ():
            errors = np.asarray(teacher.training_errors, np.float64)
            errors = errors[np.isfinite(errors)]  # a face without annotated points has no error
            self.etas[role] = max(float(np.percentile(errors, self.percentile) - errors.min()), 1e-12)

    def eta(self, role: str) -> float:
        """Return η of a teacher; 1 if its errors were not measured."""
        return self.etas.get(role, 1.0)


@register("ail")
class AttentiveImitation(_Attentive):
    """`α·e²(S, y) + (1 − α)·Φ·e²(S, T)`, `Φ = max(0, 1 − e²(T, y)/η)`: imitates where the teacher is good.

    Shapes: landmarks (B, K, 2), normalised; result (B,). η = max − min of e²(T, y) over the training set,
    each teacher's own; `percentile` below 100 takes a percentile for the maximum, which one outlier
    decides otherwise. Source: Saputra et al., ICCV 2019, eq. 8.
    """

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation`, Φ·e²(S, T)."""
        points = student["landmarks"], teacher["landmarks"]
        return {"imitation": attended_imitation(y_true, *points, self.eta(role), student.get(ANNOTATED))}


@register("aht")
class AttentiveHint(_Attentive):
    """`α·e²(S, y) + (1 − α)·scale·Φ·e²(Ψ_T, r(Ψ_S)) / mean Ψ_T²`: Φ on a hint, the tap Ψ; r is linear.

    Shapes: landmarks (B, K, 2), taps (B, C) or (B, h, w, C) of any C, the student's resized to the teacher's;
    result (B,). Source: Saputra et al., ICCV 2019, eq. 9; there the hint is a stage of its own (α = 0) up to the guided
    layer, which is then frozen: `--stages aht=20 ail=20@embedding --method-arg aht.alpha=0`. Here it can stand
    beside the main term as well, and is then of its size: in units of the teacher's features, times `scale`.
    `attend=False` is hint training without attention, Φ = 1, the paper's comparison.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        percentile: float = 100.0,
        tap: str = "embedding",
        scale: float = 0.005,
        attend: bool = True,
        **kwargs: Any,
    ):
        super().__init__(alpha, percentile, **kwargs)
        self._not_negative(scale=scale)
        self.tap, self.scale, self.attend = tap, scale, attend
        self.needs_errors = attend  # type: ignore[misc]
        self.student_taps = self.teacher_taps = ("landmarks", tap)  # type: ignore[misc]
        self.single_taps = () if attend else (tap,)
        self.connectors: dict[str, keras.layers.Layer] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build a connector per teacher."""
        super().attach(student, teachers)
        for role, teacher in teachers.items():
            connector = keras.layers.Dense(teacher.channels(self.tap), dtype="float32")
            connector.build((None, student.channels(self.tap)))
            self.connectors[role] = connector

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation`, the hint, Φ times where the method attends."""
        features = self.connectors[role](student[self.tap]), teacher[self.tap]
        if not self.attend:
            return {"imitation": hint(*features)}
        eta, annotated = self.eta(role), student.get(ANNOTATED)
        return {"imitation": attentive_hint(y_true, teacher["landmarks"], *features, eta, annotated)}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """α and (1 − α)·scale."""
        return {"main": self.alpha, "imitation": (1 - self.alpha) * self.scale}
