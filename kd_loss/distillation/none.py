"""No distillation: the student learns from the landmarks alone. Teachers are trained the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.base import DistillationMethod, Taps, Tensor, per_sample, register
from kd_loss.system.errors import choose

LOSSES = ("mse", "l1")


def regression_loss(y_true: Tensor, y_pred: Tensor, kind: str) -> Tensor:
    """Mean squared (`mse`) or mean absolute (`l1`) error of the coordinates, (B, K, 2) -> (B,)."""
    difference = y_pred - y_true
    return per_sample(ops.square(difference) if kind == "mse" else ops.abs(difference))


@register("none")
class NoDistillation(DistillationMethod):
    """`mean |S − y|` (`l1`) or `mean (S − y)²` (`mse`, the reference code's loss for its teachers).

    Shapes: landmarks (B, K, 2) normalised; result (B,).
    """

    def __init__(self, loss: str = "l1", **kwargs: Any):
        super().__init__(**kwargs)
        self.loss = choose(loss, LOSSES, "loss")

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """One term, `main`."""
        return {"main": regression_loss(y_true, student["landmarks"], self.loss)}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "loss": self.loss}
