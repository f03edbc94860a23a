"""Distillation from a teacher's output: imitation, plain and in the forms of Saputra et al.

Saputra, Gusmao, Almalioglu, Markham & Trigoni, "Distilling Knowledge From a Deep Pose Regressor Network",
ICCV 2019 (arXiv 1908.00858); the attentive forms are in `kd_loss.distillation.output_distillation`. Notation: S
student, T teacher, y truth, e² a mean over the coordinates of a squared difference.

In the functions landmarks are (B, K, 2) or (B, 2K), normalised: in crop sides, −0.5…0.5 on the crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import (
    Taps,
    TeacherMean,
    Tensor,
    mean_absolute_error,
    mean_squared_error,
    register,
)
from kd_loss.distillation.partial import ANNOTATED, error_where_annotated
from kd_loss.system.errors import UserError


@of_tensors
def plain_kd(y_true: Tensor, y_pred: Tensor, teacher: Tensor, main: float = 1.0, imitation: float = 1.0) -> Tensor:
    """`main·|S − y| + imitation·|S − T|`: the absolute differences to truth and teacher.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        main: weight of the difference to the truth, at least 0.
        imitation: weight of the difference to the teacher, at least 0.

    Returns:
        (B,) float32, at least 0, in crop sides.

    >>> round(float(plain_kd([[0.0, 0.0]], [[0.2, 0.0]], [[0.1, 0.0]])[0]), 4)   # 0.1 + 0.05
    0.15
    """
    return main * mean_absolute_error(y_true, y_pred) + imitation * mean_absolute_error(teacher, y_pred)


@of_tensors
def minimum(y_true: Tensor, y_pred: Tensor, teacher: Tensor, annotated: Tensor | None = None) -> Tensor:
    """`min(e²(S, y), e²(S, T))`: the nearer of truth and teacher.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        annotated: (B, K), 1 for the points that decide which is nearer, 0 for others; None for all.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Saputra et al., ICCV 2019, eq. 2.

    >>> round(float(minimum([[0.0, 0.0]], [[0.2, 0.0]], [[0.1, 0.0]])[0]), 4)   # min(0.02, 0.005)
    0.005
    """
    truth, taught = (mean_squared_error(points, y_pred) for points in (y_true, teacher))
    if annotated is None:
        return ops.minimum(truth, taught)
    nearer = [error_where_annotated(points, y_pred, annotated) for points in (y_true, teacher)]
    return ops.where(nearer[0] <= nearer[1], truth, taught)


@of_tensors
def imitation(y_true: Tensor, y_pred: Tensor, teacher: Tensor, alpha: float = 0.5) -> Tensor:
    """`α·e²(S, y) + (1 − α)·e²(S, T)`.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        alpha: α, 0…1.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Saputra et al., ICCV 2019, eq. 3.

    >>> round(float(imitation([[0.0, 0.0]], [[0.2, 0.0]], [[0.1, 0.0]], alpha=0.2)[0]), 4)   # 0.2·0.02 + 0.8·0.005
    0.008
    """
    return blend(y_true, y_pred, mean_squared_error(teacher, y_pred), alpha)


@of_tensors
def bounded_imitation(y_true: Tensor, y_pred: Tensor, teacher: Tensor, annotated: Tensor | None = None) -> Tensor:
    """`e²(S, T)·[e²(S, y) > e²(T, y)]`, the teacher's term of `teacher_bound`.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        annotated: (B, K), 1 for the points on which the two are compared, 0 for others; None for all.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Saputra et al., ICCV 2019, eq. 4, after Chen et al., NIPS 2017.

    >>> round(float(bounded_imitation([[0.0, 0.0]], [[0.2, 0.0]], [[0.1, 0.0]])[0]), 4)   # the teacher is better
    0.005
    >>> round(float(bounded_imitation([[0.0, 0.0]], [[0.1, 0.0]], [[0.2, 0.0]])[0]), 4)   # the student is
    0.0
    """
    student_error, teacher_error = (error_where_annotated(y_true, points, annotated) for points in (y_pred, teacher))
    return ops.where(student_error > teacher_error, mean_squared_error(teacher, y_pred), 0.0)


@of_tensors
def teacher_bound(y_true: Tensor, y_pred: Tensor, teacher: Tensor, alpha: float = 0.5) -> Tensor:
    """`α·e²(S, y) + (1 − α)·e²(S, T)·[e²(S, y) > e²(T, y)]`: imitates only a teacher that is better.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        alpha: α, 0…1.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Saputra et al., ICCV 2019, eq. 4, after Chen et al., NIPS 2017.

    >>> round(float(teacher_bound([[0.0, 0.0]], [[0.1, 0.0]], [[0.2, 0.0]], alpha=0.2)[0]), 4)   # 0.2·0.005
    0.001
    """
    return blend(y_true, y_pred, bounded_imitation(y_true, y_pred, teacher), alpha)


@of_tensors
def laplace_nll(y_pred: Tensor, teacher: Tensor, log_sigma: Tensor) -> Tensor:
    """`‖S − T‖/σ + log σ`, the negative log likelihood of a Laplace distribution but for its constant.

    Args:
        y_pred: the student's prediction, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop); ‖·‖ is
            the root of e².
        teacher: the teacher's prediction, likewise.
        log_sigma: (B,), what the student predicts for log σ, σ in crop sides; taken as −6…6.

    Returns:
        (B,) float32, of any sign.

    Source:
        Saputra et al., ICCV 2019, eq. 5.

    >>> round(float(laplace_nll([[0.1, -0.1]], [[0.0, 0.0]], [-2.0])[0]), 3)   # 0.1·e² − 2
    -1.261
    """
    log_sigma = ops.clip(ops.cast(log_sigma, "float32"), -6.0, 6.0)
    distance = ops.sqrt(mean_squared_error(teacher, y_pred) + 1e-12)
    return distance * ops.exp(-log_sigma) + log_sigma


@of_tensors
def laplace_imitation(
    y_true: Tensor, y_pred: Tensor, teacher: Tensor, log_sigma: Tensor, alpha: float = 0.5, scale: float = 0.001
) -> Tensor:
    """`α·e²(S, y) + (1 − α)·scale·(‖S − T‖/σ + log σ)`: the student predicts the teacher's uncertainty.

    Args:
        y_true: the truth, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        y_pred: the student's prediction, likewise.
        teacher: the teacher's prediction, likewise.
        log_sigma: (B,), what the student predicts for log σ, σ in crop sides; taken as −6…6.
        alpha: α, 0…1.
        scale: of the likelihood, at least 0; 1 in the paper. At σ near the error the likelihood pulls some 900 times
            harder than a square does.

    Returns:
        (B,) float32, of any sign.

    Source:
        Saputra et al., ICCV 2019, eq. 5.

    >>> round(float(laplace_imitation([[0.1, -0.1]], [[0.1, -0.1]], [[0.0, 0.0]], [-2.0], scale=1.0)[0]), 3)
    -0.631
    """
    return blend(y_true, y_pred, laplace_nll(y_pred, teacher, log_sigma), alpha, scale)


def blend(y_true: Tensor, y_pred: Tensor, term: Tensor, alpha: float, scale: float = 1.0) -> Tensor:
    """`α·e²(S, y) + (1 − α)·scale·term`, (B,)."""
    return alpha * mean_squared_error(y_true, y_pred) + (1 - alpha) * scale * term


@register("kd")
class PlainKD(TeacherMean):
    """`main·|S − y| + imitation·|S − T|`: the absolute differences to truth and teacher.

    Shapes: landmarks (B, K, 2), normalised; result (B,). The L1 relative of `imitation`, on a level with
    `none` and `kd_loss`, whose main terms are absolute differences too.
    """

    term_names = ("main", "imitation")
    single_taps = ("landmarks",)

    def __init__(self, main: float = 1.0, imitation: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(main=main, imitation=imitation)
        self.main, self.imitation = main, imitation

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 1 by default."""
        return {"main": self.main, "imitation": self.imitation}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation`."""
        return {"imitation": mean_absolute_error(teacher["landmarks"], student["landmarks"])}


@register("min")
class Minimum(TeacherMean):
    """`min(e²(S, y), e²(S, T))`: the nearer of truth and teacher.

    Shapes: landmarks (B, K, 2), normalised; result (B,). Source: Saputra et al., ICCV 2019, eq. 2.
    """

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` alone."""
        points, annotated = student["landmarks"], student.get(ANNOTATED)
        return {
            "main": self.over_teachers(teachers, lambda _, taps: minimum(y_true, points, taps["landmarks"], annotated))
        }


class Blend(TeacherMean):
    """`main`, the squared error weighted by α, and `imitation`, a teacher's term weighted by 1 − α."""

    term_names = ("main", "imitation")

    def __init__(self, alpha: float = 0.5, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= alpha <= 1:
            raise UserError(f"{self.name_on_command_line}.alpha = {alpha} is not in 0…1")
        self.alpha = alpha

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """α and 1 − α."""
        return {"main": self.alpha, "imitation": 1 - self.alpha}

    def main_term(self, y_true: Tensor, student: Taps) -> Tensor:
        """The squared error, (B,)."""
        return mean_squared_error(y_true, student["landmarks"])


@register("imitation")
class Imitation(Blend):
    """`α·e²(S, y) + (1 − α)·e²(S, T)`.

    Shapes: landmarks (B, K, 2), normalised; result (B,). Source: Saputra et al., ICCV 2019, eq. 3.
    """

    single_taps = ("landmarks",)

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation`, e²(S, T)."""
        return {"imitation": mean_squared_error(teacher["landmarks"], student["landmarks"])}


@register("bound")
class TeacherBound(Blend):
    """`α·e²(S, y) + (1 − α)·e²(S, T)·[e²(S, y) > e²(T, y)]`: imitates only a teacher that is better.

    Shapes: landmarks (B, K, 2), normalised; result (B,).
    Source: Saputra et al., ICCV 2019, eq. 4, after Chen et al. 2017.
    """

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation` where the student is the worse one, else 0."""
        points = student["landmarks"], teacher["landmarks"]
        return {"imitation": bounded_imitation(y_true, *points, student.get(ANNOTATED))}


@register("pil")
class ProbabilisticImitation(Blend):
    """`α·e²(S, y) + (1 − α)·scale·(‖S − T‖/σ + log σ)`: σ of a Laplace distribution comes from the student.

    Shapes: landmarks (B, K, 2), embedding (B, C); result (B,). ‖·‖ is the root of e². The head that
    predicts log σ belongs to the method and is not saved with the student. At σ near the error, the likelihood pulls
    some 900 times harder than a square does; `scale` (1 in the paper) brings the two to one size.
    Source: Saputra et al., ICCV 2019, eq. 5.
    """

    student_taps = ("landmarks", "embedding")

    def __init__(self, alpha: float = 0.5, scale: float = 0.001, **kwargs: Any):
        super().__init__(alpha, **kwargs)
        self._not_negative(scale=scale)
        self.scale = scale
        # log σ starts near the scale of landmark errors, so that the first steps are stable
        self.log_sigma = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(-2.0), dtype="float32")

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build the head on the student's embedding."""
        super().attach(student, teachers)
        if not self.log_sigma.built:
            self.log_sigma.build((None, student.channels("embedding")))

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`imitation`, the negative log likelihood but for its constant."""
        log_sigma = self.log_sigma(student["embedding"])[:, 0]
        return {"imitation": laplace_nll(student["landmarks"], teacher["landmarks"], log_sigma)}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """α and (1 − α)·scale."""
        return {"main": self.alpha, "imitation": (1 - self.alpha) * self.scale}
