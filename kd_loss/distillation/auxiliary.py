"""An auxiliary heatmap head on the trunk of a student with a pooled head; used in training only, never saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import (
    DistillationMethod,
    Taps,
    Tensor,
    per_sample,
    points_of,
    register,
)
from kd_loss.distillation.partial import where_annotated
from kd_loss.networks.heads import heatmap_head

LEVELS = ("P2", "P3", "P4")


@of_tensors
def auxiliary_error(y_true: Tensor, y_pred: Tensor, auxiliary: Tensor) -> Tensor:
    """`mean |A − y|` of a second head's landmarks A, 0 for the points where the truth is the student's own answer.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised.
        y_pred: the student's landmarks, likewise.
        auxiliary: the landmarks of the second head, likewise.

    Returns:
        (B,) float32, at least 0, in crop sides.

    Source:
        Lee et al., "Deeply-Supervised Nets", AISTATS 2015.

    >>> float(auxiliary_error([[0.0, 0.0]], [[0.5, 0.5]], [[0.25, 0.0]])[0])
    0.125
    """
    return per_sample(where_annotated(y_true, y_pred)[..., None] * ops.abs(points_of(auxiliary) - points_of(y_true)))


@register("auxiliary")
class AuxiliaryHeatmaps(DistillationMethod):
    """`|S − y| + auxiliary·|h(P2, P3, P4) − y|`, h a heatmap head of the method's own on the student's maps.

    A pooled head throws away where things are; the second head keeps it alive in the trunk. No teacher. Shapes:
    landmarks (B, K, 2), maps (B, h, w, C); result (B,). Source: deep supervision, Lee et al., AISTATS 2015.
    """

    student_taps = ("landmarks", *LEVELS)
    term_names = ("main", "auxiliary")

    def __init__(self, auxiliary: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(auxiliary=auxiliary)
        self.auxiliary = auxiliary
        self.head: keras.Model | None = None

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 1 by default."""
        return {"auxiliary": self.auxiliary}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build the head."""
        taps = student.tap_model(("landmarks", *LEVELS)).output
        inputs = {level: keras.Input(taps[level].shape[1:], name=level) for level in LEVELS}
        self.head = keras.Model(inputs, heatmap_head(inputs, taps["landmarks"].shape[1], 1.0))

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `auxiliary`."""
        assert self.head is not None
        second = self.head({level: student[level] for level in LEVELS}, training=True)
        return {
            "main": self.main_term(y_true, student),
            "auxiliary": auxiliary_error(y_true, student["landmarks"], second),
        }
