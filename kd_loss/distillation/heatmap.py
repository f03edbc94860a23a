"""What a student may take from a teacher's heatmaps: where the teacher looks, and how sure it is.

Coordinates tell a student where the teacher's expectation lies; a map tells it the other places that were
possible. Divergences of heatmaps are what most papers on small landmark networks distil (Zhang, Zhu & Ye, "Fast
Human Pose Estimation", CVPR 2019; Zhao et al., MobileFAN, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.base import Taps, TeacherMean, Tensor, check_positive, match_size, per_sample, register
from kd_loss.networks.heads import grid
from kd_loss.system.errors import UserError


def log_probabilities(heatmaps: Tensor, temperature: float) -> Tensor:
    """Heatmaps before their softmax, (B, h, w, K) -> log softmax over the cells, (B, h·w, K)."""
    _, height, width, points = heatmaps.shape
    flat = ops.reshape(heatmaps, (-1, height * width, points)) / temperature
    return flat - ops.logsumexp(flat, axis=1, keepdims=True)


def probabilities(heatmaps: Tensor, temperature: float = 1.0) -> Tensor:
    """Heatmaps before their softmax, (B, h, w, K) -> softmax over the cells, (B, h, w, K)."""
    _, height, width, points = heatmaps.shape
    return ops.reshape(ops.exp(log_probabilities(heatmaps, temperature)), (-1, height, width, points))


def in_cells_of(mine: Tensor, theirs: Tensor) -> Tensor:
    """Another network's probabilities (B, H, W, K) in the cells of one's own (B, h, w, K), summing to 1 there."""
    theirs = ops.maximum(match_size(theirs, mine), 0.0)
    return theirs / ops.maximum(ops.sum(theirs, axis=(1, 2), keepdims=True), 1e-9)


def rendered(landmarks: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Gaussians of `sigma` crop sides about landmarks (B, K, 2), summing to 1 over the cells, (B, h·w, K)."""
    places = ops.convert_to_tensor(grid(height, width))
    squares = ops.sum(ops.square(places[None, :, None] - landmarks[:, None]), axis=-1)
    return ops.softmax(-squares / (2 * sigma**2), axis=1)


@register("heatmap")
class HeatmapDistillation(TeacherMean):
    """`|S − y| + divergence·τ²·mean_k Σ_z p_T log(p_T / p_S)`, p = softmax over the cells of heatmaps / τ.

    Shapes: landmarks (B, K, 2), heatmaps (B, h, w, K) before their softmax, the teacher's of any size: its
    probabilities are brought to the student's cells; result (B,). With `sigma` above 0 the teacher's maps are
    Gaussians of so many crop sides about its landmarks, which any teacher can give, recorded or of another runtime.
    Source: Hinton et al. 2015 (τ and τ²), on the cells of a landmark's map as the classes.
    """

    student_taps = ("landmarks", "heatmaps")
    term_names = ("main", "divergence")

    def __init__(self, divergence: float = 0.01, temperature: float = 1.0, sigma: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("heatmap", divergence=divergence, sigma=sigma)
        if temperature <= 0:
            raise UserError(f"heatmap.temperature = {temperature} is not positive")
        self.divergence, self.temperature, self.sigma = divergence, temperature, sigma
        self.teacher_taps = ("landmarks",) if sigma else ("landmarks", "heatmaps")  # type: ignore[misc]

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.01 by default: a nat counts as much as a hundredth of the crop."""
        return {"divergence": self.divergence * self.temperature**2}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `divergence`."""
        _, height, width, points = student["heatmaps"].shape
        mine = log_probabilities(student["heatmaps"], self.temperature)

        def divergence(_: str, taps: Taps) -> Tensor:
            if self.sigma:
                theirs = rendered(taps["landmarks"], height, width, self.sigma)
            else:
                maps = in_cells_of(student["heatmaps"], probabilities(taps["heatmaps"], self.temperature))
                theirs = ops.reshape(maps, (-1, height * width, points))
            return ops.mean(ops.sum(theirs * (ops.log(theirs + 1e-9) - mine), axis=1), axis=-1)

        return {
            "main": per_sample(ops.abs(student["landmarks"] - y_true)),
            "divergence": self.over_teachers(teachers, divergence),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {
            **super().get_config(),
            **{"divergence": self.divergence, "temperature": self.temperature, "sigma": self.sigma},
        }
