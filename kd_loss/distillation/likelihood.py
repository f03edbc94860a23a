"""Heatmaps whose width matches the network's uncertainty: the likelihood of the truth under them.

A network trained on coordinates alone learns the centre of a map and nothing about its width, so that the spread of
its maps does not predict its errors. The likelihood is small for a narrow map beside the truth and for a wide one on
it; the optimal map is as wide as the errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import (
    DistillationMethod,
    Taps,
    Tensor,
    per_sample,
    register,
)
from kd_loss.distillation.heatmap import log_probabilities, rendered
from kd_loss.distillation.partial import where_annotated
from kd_loss.networks.heads import grid
from kd_loss.networks.simcc import bin_centres
from kd_loss.system.errors import choose

#: output of a head whose likelihood is computed -> the student's taps
DISTRIBUTIONS = {"heatmaps": ("heatmaps",), "bins": ("bins_x", "bins_y"), "scores": ("scores",)}


@of_tensors
def likelihood(y_true: Tensor, heatmaps: Tensor, sigma: float = 0.015, annotated: Tensor | None = None) -> Tensor:
    """`mean_k Σ_z g(z − y_k) (−log p_k(z))`, p the softmax over the cells of heatmaps, g a Gaussian that sums to 1.

    Args:
        y_true: (B, K, 2) or (B, 2K), normalised.
        heatmaps: (B, h, w, K) before their softmax, of cells that reach 1.25 times as far as the crop.
        sigma: the width of g, above 0, in crop sides; about that of a cell.
        annotated: (B, K), 1 for the points that count and 0 for others, which add 0 to the mean; all where None.

    Returns:
        (B,) float32, at least 0, in nats; log(h·w) for flat maps.

    Source:
        The cross-entropy of maps, as in Bulat & Tzimiropoulos, ECCV 2016.

    >>> round(float(likelihood([[0.0, 0.0]], [[[[0.0], [0.0]]]])[0]), 4)   # log 2
    0.6931
    """
    maps = ops.cast(heatmaps, "float32")
    cross = -ops.sum(rendered(y_true, maps.shape[1], maps.shape[2], sigma) * log_probabilities(maps, 1.0), axis=1)
    return per_sample(cross if annotated is None else annotated * cross)


def cross_entropy(logits: Tensor, places: Tensor, landmarks: Tensor, sigma: float) -> Tensor:
    """`−Σ_z g(z − y_k) log p_k(z)`, g a Gaussian of `sigma` crop sides that sums to 1 over the places, (B, K).

    Args:
        logits: (B, N, K), before their softmax over N places.
        places: (N, C), normalised.
        landmarks: (B, K, C), normalised.
        sigma: the width of g in crop sides, above 0.
    """
    squares = ops.sum(ops.square(ops.convert_to_tensor(places)[None, :, None] - landmarks[:, None]), axis=-1)
    shares = ops.softmax(-squares / (2 * sigma**2), axis=1)
    return -ops.sum(shares * ops.log_softmax(logits, axis=1), axis=1)


@register("likelihood")
class HeatmapLikelihood(DistillationMethod):
    """`|S − y| + likelihood·mean_k Σ_z g(z − y_k) (−log p_k(z))`, p = softmax over the cells of heatmaps, g a Gaussian.

    Shapes: landmarks (B, K, 2), heatmaps (B, h, w, K) before their softmax; result (B,). `sigma` is the width of g in
    crop sides, about that of a cell: below it a map has no place to be exact. No teacher. A point that is not annotated
    takes no part. `of` says whose p: `heatmaps`, or those of two other heads, `bins` of simcc (bins_x and bins_y
    (B, K, n), their cross-entropies added) and `scores` of pip (B, h, w, K).
    Source: the cross-entropy of maps, as in Bulat & Tzimiropoulos, "Human Pose Estimation via
    Convolutional Part Heatmap Regression", ECCV 2016, beside the L1 of H3R (Yu & Tao, arXiv 2009.00225).
    """

    student_taps: tuple[str, ...] = ("landmarks", "heatmaps")  # type: ignore[misc]
    term_names = ("main", "likelihood")
    teacher_taps = ()

    def __init__(self, likelihood: float = 0.003, sigma: float = 0.015, of: str = "heatmaps", **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(likelihood=likelihood)
        self._positive(sigma=sigma)
        self.likelihood, self.sigma = likelihood, sigma
        self.of = choose(of, DISTRIBUTIONS, "likelihood.of")
        self.student_taps = ("landmarks", *DISTRIBUTIONS[self.of])

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.003 by default: a nat counts as much as 0.3 % of the crop."""
        return {"likelihood": self.likelihood}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `likelihood`."""
        annotated = where_annotated(y_true, student["landmarks"])
        if self.of == "heatmaps":
            value = likelihood(y_true, student["heatmaps"], self.sigma, annotated)
        elif self.of == "bins":
            cross = 0.0
            for axis, tap in enumerate(DISTRIBUTIONS["bins"]):
                logits = ops.transpose(student[tap], (0, 2, 1))
                places = bin_centres(logits.shape[1])[:, None]
                cross += cross_entropy(logits, places, y_true[..., axis : axis + 1], self.sigma)
            value = per_sample(annotated * cross)
        else:
            _, height, width, points = student["scores"].shape
            logits = ops.reshape(student["scores"], (-1, height * width, points))
            value = per_sample(annotated * cross_entropy(logits, grid(height, width, 1.0), y_true, self.sigma))
        return {"main": self.main_term(y_true, student), "likelihood": value}
