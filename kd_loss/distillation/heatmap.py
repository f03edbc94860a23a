"""Distillation from a teacher's heatmaps: where the teacher looks, and how confident it is.

Coordinates carry only the teacher's expectation; a map also carries the alternative places. Most papers on small
landmark networks distil divergences of heatmaps (Zhang, Zhu & Ye, "Fast
Human Pose Estimation", CVPR 2019; Zhao et al., MobileFAN, 2019).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import Taps, TeacherMean, Tensor, points_of, register
from kd_loss.distillation.feature_maps import match_size
from kd_loss.networks.heads import grid


def log_probabilities(heatmaps: Tensor, temperature: float) -> Tensor:
    """Heatmaps before their softmax, (B, h, w, K) -> log softmax over the cells, (B, h·w, K)."""
    heatmaps = ops.cast(heatmaps, "float32")
    _, height, width, points = heatmaps.shape
    flat = ops.reshape(heatmaps, (-1, height * width, points)) / temperature
    return flat - ops.logsumexp(flat, axis=1, keepdims=True)


def probabilities(heatmaps: Tensor, temperature: float = 1.0) -> Tensor:
    """Heatmaps before their softmax, (B, h, w, K) -> softmax over the cells, (B, h, w, K)."""
    heatmaps = ops.cast(heatmaps, "float32")
    _, height, width, points = heatmaps.shape
    return ops.reshape(ops.exp(log_probabilities(heatmaps, temperature)), (-1, height, width, points))


def in_cells_of(student: Tensor, teacher: Tensor) -> Tensor:
    """Resample another network's probabilities (B, H, W, K) to the cells of (B, h, w, K), summing to 1 there."""
    teacher = ops.cast(teacher, "float32")
    teacher = ops.maximum(match_size(teacher, student), 0.0)
    return teacher / ops.maximum(ops.sum(teacher, axis=(1, 2), keepdims=True), 1e-9)


def rendered(landmarks: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Gaussians of `sigma` crop sides about landmarks (B, K, 2), summing to 1 over the cells, (B, h·w, K)."""
    landmarks = points_of(landmarks)
    places = ops.convert_to_tensor(grid(height, width))
    squares = ops.sum(ops.square(places[None, :, None] - landmarks[:, None]), axis=-1)
    return ops.softmax(-squares / (2 * sigma**2), axis=1)


@of_tensors
def heatmap_kl(heatmaps: Tensor, teacher_heatmaps: Tensor, temperature: float = 1.0) -> Tensor:
    """`mean_k Σ_z p_T log(p_T / p_S)`, p the softmax over the cells of heatmaps / τ; Hinton et al. weigh it by τ².

    Args:
        heatmaps: the student's, (B, h, w, K), before their softmax.
        teacher_heatmaps: the teacher's, (B, H, W, K) of any height and width, before their softmax: its
            probabilities are brought to the student's cells.
        temperature: τ, above 0.

    Returns:
        (B,) float32, at least 0 but for rounding, in nats.

    Source:
        Hinton, Vinyals & Dean 2015, on the cells of a landmark's map as the classes.

    A flat map of two cells against one that is sure, log(1 / ½):

    >>> round(float(heatmap_kl([[[[0.0], [0.0]]]], [[[[50.0], [0.0]]]])[0]), 4)
    0.6931
    """
    student = ops.cast(heatmaps, "float32")
    teacher = in_cells_of(student, probabilities(teacher_heatmaps, temperature))
    return _divergence(
        student, ops.reshape(teacher, (-1, student.shape[1] * student.shape[2], student.shape[3])), temperature
    )


@of_tensors
def gaussian_kl(heatmaps: Tensor, teacher: Tensor, sigma: float, temperature: float = 1.0) -> Tensor:
    """`heatmap_kl` against Gaussians about a teacher's landmarks; the teacher needs no heatmaps.

    Args:
        heatmaps: the student's, (B, h, w, K), before their softmax, of cells that reach 1.25 times as far as the crop.
        teacher: the teacher's landmarks, (B, K, 2) or (B, 2K), normalised.
        sigma: of the Gaussians, above 0, in crop sides.
        temperature: τ, above 0.

    Returns:
        (B,) float32, at least 0 but for rounding, in nats.

    Source:
        Hinton, Vinyals & Dean 2015, on the cells of a landmark's map as the classes.

    A flat map of two cells, their centres 0.3125 from the landmark on either side, is exactly right:

    >>> abs(round(float(gaussian_kl([[[[0.0], [0.0]]]], [[0.0, 0.0]], sigma=0.1)[0]), 4))
    0.0
    """
    student = ops.cast(heatmaps, "float32")
    return _divergence(student, rendered(teacher, student.shape[1], student.shape[2], sigma), temperature)


def _divergence(heatmaps: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """mean_k Σ_z p_T log(p_T / p_S) from maps (B, h, w, K) and probabilities (B, h·w, K), (B,)."""
    student = log_probabilities(heatmaps, temperature)
    return ops.mean(ops.sum(teacher * (ops.log(teacher + 1e-9) - student), axis=1), axis=-1)


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

    def __init__(self, divergence: float = 0.3, temperature: float = 1.0, sigma: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(divergence=divergence, sigma=sigma)
        self._positive(temperature=temperature)
        self.divergence, self.temperature, self.sigma = divergence, temperature, sigma
        self.teacher_taps = ("landmarks",) if sigma else ("landmarks", "heatmaps")  # type: ignore[misc]
        self.single_taps = () if sigma else ("heatmaps",)

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.3 by default, the best of five on held-out faces (docs/experiments/modern-64px.md)."""
        return {"divergence": self.divergence * self.temperature**2}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`divergence`."""
        maps = student["heatmaps"]
        if self.sigma:
            return {"divergence": gaussian_kl(maps, teacher["landmarks"], self.sigma, self.temperature)}
        return {"divergence": heatmap_kl(maps, teacher["heatmaps"], self.temperature)}
