"""Heatmaps that are as wide as the network is unsure: the likelihood of the truth under them.

A network that learns from coordinates alone is told where the middle of a map belongs and nothing about its width, so
that the spread of its maps says nothing about its errors. The likelihood is small for a narrow map that lies beside
the truth and for a wide one that lies on it; its minimum is as wide as the errors are.
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
    where_annotated,
)
from kd_loss.distillation.heatmap import log_probabilities, rendered
from kd_loss.system.errors import UserError


@register("likelihood")
class HeatmapLikelihood(DistillationMethod):
    """`|S − y| + likelihood·mean_k Σ_z g(z − y_k) (−log p_k(z))`, p = softmax over the cells of heatmaps, g a Gaussian.

    Shapes: landmarks (B, K, 2), heatmaps (B, h, w, K) before their softmax; result (B,). `sigma` is the width of g in
    crop sides, about that of a cell: below it a map has no place to be exact. No teacher. A point that is not annotated
    takes no part. Source: the cross-entropy of maps, as in Bulat & Tzimiropoulos, "Human Pose Estimation via
    Convolutional Part Heatmap Regression", ECCV 2016, beside the L1 of H3R (Yu & Tao, arXiv 2009.00225).
    """

    student_taps = ("landmarks", "heatmaps")
    term_names = ("main", "likelihood")
    teacher_taps = ()

    def __init__(self, likelihood: float = 0.003, sigma: float = 0.015, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("likelihood", likelihood=likelihood)
        if not sigma > 0:
            raise UserError(f"likelihood.sigma = {sigma} is not positive")
        self.likelihood, self.sigma = likelihood, sigma

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.003 by default: a nat counts as much as 0.3 % of the crop."""
        return {"likelihood": self.likelihood}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `likelihood`."""
        _, height, width, _ = student["heatmaps"].shape
        error = ops.abs(student["landmarks"] - y_true)
        cross = -ops.sum(
            rendered(y_true, height, width, self.sigma) * log_probabilities(student["heatmaps"], 1.0), axis=1
        )
        return {"main": per_sample(error), "likelihood": per_sample(where_annotated(error) * cross)}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "likelihood": self.likelihood, "sigma": self.sigma}
