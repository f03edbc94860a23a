"""Teachers' predictions in place of annotation: on faces without landmarks, and for the missing points of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import Taps, TeacherMean, Tensor, per_sample, points_of, register


@of_tensors
def pseudo_labels(y_true: Tensor, y_pred: Tensor, teacher: Tensor, limit: float = 0.03) -> Tensor:
    """`mean |S − y|`, excluding points filled in by the teacher on faces where it errs by more than `limit` elsewhere.

    Args:
        y_true: (B, K, 2) or (B, 2K), normalised: the truth, and where there is none the teacher's own
            prediction.
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        limit: mean absolute error, in crop sides, up to which the teacher is trusted.

    Returns:
        (B,) float32, at least 0, in crop sides.

    Source:
        Lee, "Pseudo-Label", ICML workshop 2013.

    The teacher errs by 0.05 on the first point, more than the limit, so that its second point does not count:

    >>> round(float(pseudo_labels([[0.0, 0.0, 0.3, 0.3]], [[0.2, 0.2, 0.5, 0.5]], [[0.05, 0.05, 0.3, 0.3]])[0]), 4)
    0.1
    """
    y_true, y_pred, teacher = points_of(y_true), points_of(y_pred), points_of(teacher)
    error = ops.abs(teacher - y_true)
    written = ops.cast(ops.any(error > 1e-6, axis=-1, keepdims=True), "float32")  # (B, K, 1)
    count = 2 * ops.sum(written, axis=(1, 2), keepdims=True)
    believed = ops.sum(error, axis=(1, 2), keepdims=True) <= limit * count + 1e-6
    weight = ops.where(believed, 1.0, written)
    return per_sample(weight * ops.abs(y_pred - y_true))


@register("pseudo")
class PseudoLabels(TeacherMean):
    """`|S − y|`, y the truth where it is annotated and the teachers' mean prediction elsewhere.

    On a face that is annotated in part, the predictions of the other points count where the teachers err by at most
    `limit` (crop sides, mean absolute error) on the points that are: a teacher that never saw a profile is not to be
    believed about its hidden half. On fully annotated faces it is the student alone. Shapes: landmarks (B, K, 2),
    normalised; result (B,). Source: pseudo-labels, Lee 2013.
    """

    def __init__(self, limit: float = 0.03, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(limit=limit)
        self.limit = limit

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` alone; `y_true` holds the predictions already where there is no truth (see `Distiller`)."""
        mean = self.over_teachers(teachers, lambda _, taps: taps["landmarks"])
        return {"main": pseudo_labels(y_true, student["landmarks"], mean, self.limit)}
