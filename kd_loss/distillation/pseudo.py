"""Teachers' answers where nobody annotated: on faces without landmarks, and for the missing points of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.base import Taps, TeacherMean, Tensor, check_positive, per_sample, register


@register("pseudo")
class PseudoLabels(TeacherMean):
    """`|S − y|`, y the truth where it is annotated and the teachers' mean answer elsewhere.

    On a face that is annotated in part, the answers about the other points count where the teachers err by at most
    `limit` (crop sides, mean absolute error) on the points that are: a teacher that never saw a profile is not to be
    believed about its hidden half. On fully annotated faces it is the student alone. Shapes: landmarks (B, K, 2),
    normalised; result (B,). Source: pseudo-labels, Lee 2013.
    """

    def __init__(self, limit: float = 0.03, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("pseudo", limit=limit)
        self.limit = limit

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` alone; `y_true` holds the answers already where there is no truth (see `Distiller`)."""
        answer = self.over_teachers(teachers, lambda _, taps: taps["landmarks"])
        error = ops.abs(answer - y_true)
        written = ops.cast(ops.any(error > 1e-6, axis=-1, keepdims=True), "float32")  # (B, K, 1)
        count = 2 * ops.sum(written, axis=(1, 2), keepdims=True)
        believed = ops.sum(error, axis=(1, 2), keepdims=True) <= self.limit * count + 1e-6
        weight = ops.where(believed, 1.0, written)
        return {"main": per_sample(weight * ops.abs(student["landmarks"] - y_true))}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "limit": self.limit}
