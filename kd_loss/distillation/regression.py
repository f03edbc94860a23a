"""What a regressor may take from a teacher's output, six ways.

Saputra, Gusmao, Almalioglu, Markham & Trigoni, "Distilling Knowledge From a Deep Pose Regressor Network",
ICCV 2019 (arXiv 1908.00858), and plain imitation. Notation: S student, T teacher, y truth, e² a mean
over the coordinates of a squared difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.base import (
    Taps,
    TeacherMean,
    Tensor,
    check_positive,
    match_size,
    per_sample,
    register,
    relative_distance,
)
from kd_loss.system.errors import UserError


def squared(a: Tensor, b: Tensor) -> Tensor:
    """The mean squared difference of each sample, (B, K, 2) twice -> (B,)."""
    return per_sample(ops.square(a - b))


def attention(errors: Tensor, eta: float) -> Tensor:
    """Φ = 1 − e²/η, at least 0: the trust in a teacher on samples where it errs by `errors` (B,).

    The worst sample of the training set has Φ = −min/(max − min) ≤ 0 by the paper's formula; it is
    clamped, since a student is not to move away from a teacher for being wrong.
    """
    return ops.maximum(0.0, 1.0 - errors / eta)


class _Blend(TeacherMean):
    """`main`, weighted by α, and `imitation`, weighted by 1 − α."""

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

    def imitation(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> Tensor:
        """The imitation term of one teacher, (B,)."""
        return squared(student["landmarks"], teacher["landmarks"])

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `imitation`."""
        return {
            "main": squared(student["landmarks"], y_true),
            "imitation": self.over_teachers(teachers, lambda r, taps: self.imitation(r, y_true, student, taps)),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "alpha": self.alpha}


@register("kd")
class PlainKD(TeacherMean):
    """`main·|S − y| + imitation·|S − T|`: the absolute differences to truth and teacher.

    Shapes: landmarks (B, K, 2), normalised; result (B,). The L1 relative of `imitation`, on a level with
    `none` and `kd_loss`, whose main terms are absolute differences too.
    """

    term_names = ("main", "imitation")

    def __init__(self, main: float = 1.0, imitation: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("kd", main=main, imitation=imitation)
        self.main, self.imitation = main, imitation

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 1 by default."""
        return {"main": self.main, "imitation": self.imitation}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `imitation`."""
        points = student["landmarks"]
        return {
            "main": per_sample(ops.abs(points - y_true)),
            "imitation": self.over_teachers(teachers, lambda _, t: per_sample(ops.abs(points - t["landmarks"]))),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), **self.weights_of_terms}


@register("min")
class Minimum(TeacherMean):
    """`min(e²(S, y), e²(S, T))`: the nearer of truth and teacher.

    Shapes: landmarks (B, K, 2), normalised; result (B,). Source: Saputra et al., ICCV 2019, eq. 2.
    """

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` alone."""
        own = squared(student["landmarks"], y_true)
        return {
            "main": self.over_teachers(
                teachers, lambda _, t: ops.minimum(own, squared(student["landmarks"], t["landmarks"]))
            )
        }


@register("imitation")
class Imitation(_Blend):
    """`α·e²(S, y) + (1 − α)·e²(S, T)`.

    Shapes: landmarks (B, K, 2), normalised; result (B,). Source: Saputra et al., ICCV 2019, eq. 3.
    """


@register("bound")
class TeacherBound(_Blend):
    """`α·e²(S, y) + (1 − α)·e²(S, T)·[e²(S, y) > e²(T, y)]`: imitate only a teacher who is better.

    Shapes: landmarks (B, K, 2), normalised; result (B,).
    Source: Saputra et al., ICCV 2019, eq. 4, after Chen et al. 2017.
    """

    def imitation(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> Tensor:
        """The imitation term where the student is the worse one, else 0."""
        worse = squared(student["landmarks"], y_true) > squared(teacher["landmarks"], y_true)
        return ops.where(worse, super().imitation(role, y_true, student, teacher), 0.0)


@register("pil")
class ProbabilisticImitation(_Blend):
    """`α·e²(S, y) + (1 − α)·scale·(‖S − T‖/σ + log σ)`: σ of a Laplace distribution comes from the student.

    Shapes: landmarks (B, K, 2), embedding (B, C); result (B,). ‖·‖ is the root of e². The head that
    predicts log σ belongs to the method and is not saved with the student. At σ near the error, the likelihood pulls
    some 900 times harder than a square does; `scale` (1 in the paper) brings the two to one size.
    Source: Saputra et al., ICCV 2019, eq. 5.
    """

    student_taps = ("landmarks", "embedding")

    def __init__(self, alpha: float = 0.5, scale: float = 0.001, **kwargs: Any):
        super().__init__(alpha, **kwargs)
        check_positive("pil", scale=scale)
        self.factor = scale
        # log σ starts near the scale of landmark errors, so that the first steps are tame
        self.log_sigma = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(-2.0), dtype="float32")

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build the head on the student's embedding."""
        super().attach(student, teachers)
        if not self.log_sigma.built:
            self.log_sigma.build((None, student.channels("embedding")))

    def imitation(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> Tensor:
        """The negative log likelihood but for its constant."""
        log_sigma = ops.clip(self.log_sigma(student["embedding"])[:, 0], -6.0, 6.0)
        distance = ops.sqrt(squared(student["landmarks"], teacher["landmarks"]) + 1e-12)
        return distance * ops.exp(-log_sigma) + log_sigma

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """α and (1 − α)·scale."""
        return {"main": self.alpha, "imitation": (1 - self.alpha) * self.factor}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "scale": self.factor}


class _Attentive(_Blend):
    """Knows η = max − min of the teachers' errors over the whole training set."""

    needs_errors = True

    def __init__(self, alpha: float = 0.5, percentile: float = 100.0, **kwargs: Any):
        super().__init__(alpha, **kwargs)
        if not 50 < percentile <= 100:
            raise UserError(f"{self.name_on_command_line}.percentile = {percentile} is not in 50…100")
        self.percentile = percentile
        self.etas: dict[str, float] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Take η from the errors that were measured before training."""
        super().attach(student, teachers)
        for role, teacher in teachers.items() if self.needs_errors else ():
            errors = np.asarray(teacher.training_errors, np.float64)
            self.etas[role] = max(float(np.percentile(errors, self.percentile) - errors.min()), 1e-12)

    def trust(self, role: str, y_true: Tensor, teacher: Taps) -> Tensor:
        """Φ of each sample, (B,)."""
        return attention(squared(teacher["landmarks"], y_true), self.etas.get(role, 1.0))

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "percentile": self.percentile}


@register("ail")
class AttentiveImitation(_Attentive):
    """`α·e²(S, y) + (1 − α)·Φ·e²(S, T)`, `Φ = max(0, 1 − e²(T, y)/η)`: imitate where the teacher is good.

    Shapes: landmarks (B, K, 2), normalised; result (B,). η = max − min of e²(T, y) over the training set,
    each teacher's own; `percentile` below 100 takes a percentile for the maximum, which one outlier
    decides otherwise. Source: Saputra et al., ICCV 2019, eq. 8.
    """

    def imitation(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> Tensor:
        """Φ times the imitation term."""
        return self.trust(role, y_true, teacher) * super().imitation(role, y_true, student, teacher)


@register("aht")
class AttentiveHint(_Attentive):
    """`α·e²(S, y) + (1 − α)·scale·Φ·e²(Ψ_T, r(Ψ_S)) / mean Ψ_T²`: Φ on a hint, the tap Ψ; r is linear.

    Shapes: landmarks (B, K, 2), taps (B, C) or (B, h, w, C) of any C, the student's resized to the teacher's;
    result (B,). Source: Saputra et al., ICCV 2019, eq. 9; there the hint is a stage of its own (α = 0) up to the guided
    layer, which is then frozen: `--stages aht=20 ail=20@embedding --set aht.alpha=0`. Here it can stand
    beside the main term as well, and is then of its size: in units of the teacher's features, times `scale`.
    `attend=False` is hint training without attention, Φ = 1, the paper's comparison.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        percentile: float = 100.0,
        tap: str = "embedding",
        scale: float = 0.005,
        attend: bool = True,
        **kwargs: Any,
    ):
        super().__init__(alpha, percentile, **kwargs)
        check_positive("aht", scale=scale)
        self.tap, self.factor, self.attend = tap, scale, attend
        self.needs_errors = attend  # type: ignore[misc]
        self.student_taps = self.teacher_taps = ("landmarks", tap)  # type: ignore[misc]
        self.connectors: dict[str, keras.layers.Layer] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build a connector per teacher."""
        super().attach(student, teachers)
        for role, teacher in teachers.items():
            connector = keras.layers.Dense(teacher.channels(self.tap), dtype="float32")
            connector.build((None, student.channels(self.tap)))
            self.connectors[role] = connector

    def imitation(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> Tensor:
        """Φ times the squared distance of the taps."""
        mine = self.connectors[role](student[self.tap])
        mine = match_size(mine, teacher[self.tap]) if len(mine.shape) == 4 else mine
        distance = relative_distance(mine, teacher[self.tap])
        return self.trust(role, y_true, teacher) * distance if self.attend else distance

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """α and (1 − α)·scale."""
        return {"main": self.alpha, "imitation": (1 - self.alpha) * self.factor}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "tap": self.tap, "scale": self.factor, "attend": self.attend}
