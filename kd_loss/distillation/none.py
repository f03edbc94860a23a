"""No distillation: the student learns from the landmarks alone. Teachers are trained the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_loss.distillation.base import (
    DistillationMethod,
    Taps,
    Tensor,
    mean_absolute_error,
    mean_squared_error,
    register,
)
from kd_loss.system.errors import choose

LOSSES = {"mse": mean_squared_error, "l1": mean_absolute_error}


@register("none")
class NoDistillation(DistillationMethod):
    """`mean |S − y|` (`l1`) or `mean (S − y)²` (`mse`, the reference code's loss for its teachers).

    Shapes: landmarks (B, K, 2) normalised; result (B,).
    """

    def __init__(self, loss: str = "l1", **kwargs: Any):
        super().__init__(**kwargs)
        self.loss = choose(loss, LOSSES, "loss")

    def main_term(self, y_true: Tensor, student: Taps) -> Tensor:
        """The error of either kind, (B,)."""
        return LOSSES[self.loss](y_true, student["landmarks"])

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` alone."""
        return {"main": self.main_term(y_true, student)}
