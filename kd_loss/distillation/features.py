"""What a student may take from a teacher's features: FitNet hints, attention transfer, SRRL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
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


def attention_sums(features: Tensor, power: float) -> Tensor:
    """Σ_c |A|^p over the channels of (B, h, w, C), flattened, (B, h·w)."""
    summed = ops.sum(ops.power(ops.abs(features) + 1e-6, power), axis=-1)
    return ops.reshape(summed, (ops.shape(summed)[0], -1))


def attention_map(features: Tensor, power: float) -> Tensor:
    """`attention_sums` of length 1, (B, h·w)."""
    flat = attention_sums(features, power)
    return flat / (ops.norm(flat, axis=1, keepdims=True) + 1e-9)


class _WithMain(TeacherMean):
    """Adds the truth's absolute error, `main`, to a term of features."""

    feature_term = ""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.connectors: dict[str, keras.layers.Layer] = {}

    def features(self, role: str, student: Taps, teacher: Taps) -> Tensor:
        """The feature term of one teacher, (B,)."""
        raise NotImplementedError

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and the feature term."""
        return {
            "main": per_sample(ops.abs(student["landmarks"] - y_true)),
            self.feature_term: self.over_teachers(teachers, lambda r, taps: self.features(r, student, taps)),
        }


@register("fitnet")
class FitNet(_WithMain):
    """`|S − y| + hint·mean (A_T − r(A_S))² / mean A_T²` at P4, r a 1 × 1 convolution to the teacher's channels.

    Shapes: landmarks (B, K, 2), P4 (B, h, w, C) of any size and channels; result (B,). The larger map is
    brought to the size of the teacher's. The unit, which the paper has not, makes the term as large as the main one
    at the start whatever the teacher's features are. Source: Romero et al., ICLR 2015.
    """

    student_taps = ("landmarks", "P4")
    teacher_taps = ("P4",)
    term_names = ("main", "hint")
    feature_term = "hint"

    def __init__(self, hint: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("fitnet", hint=hint)
        self.hint = hint

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.05 by default."""
        return {"hint": self.hint}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build a connector per teacher."""
        super().attach(student, teachers)
        for role, teacher in teachers.items():
            connector = keras.layers.Conv2D(teacher.channels("P4"), 1, dtype="float32")
            connector.build((None, None, None, student.channels("P4")))
            self.connectors[role] = connector

    def features(self, role: str, student: Taps, teacher: Taps) -> Tensor:
        """The mean squared difference of teacher's and connected student's map."""
        mine = match_size(self.connectors[role](student["P4"]), teacher["P4"])
        return relative_distance(mine, teacher["P4"])

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "hint": self.hint}


@register("attention")
class AttentionTransfer(_WithMain):
    """`|S − y| + transfer·Σ_n ‖q(A_S) − q(A_T)‖²`, `q(A) = Σ_c |A|^p / ‖Σ_c |A|^p‖`, at P3 and P4.

    Shapes: landmarks (B, K, 2), maps (B, h, w, C) of any size and channels; result (B,). Sizes are matched
    to the student's. P5, which the paper takes as well, is missing in networks that are cut. Source: Zagoruyko &
    Komodakis, ICLR 2017 (p = 2).
    """

    student_taps = ("landmarks", "P3", "P4")
    teacher_taps = ("P3", "P4")
    term_names = ("main", "transfer")
    feature_term = "transfer"

    def __init__(self, transfer: float = 0.1, power: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("attention", transfer=transfer)
        if power <= 0:
            raise UserError(f"attention.power = {power} is not positive")
        self.transfer, self.power = transfer, power

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.1 by default."""
        return {"transfer": self.transfer}

    def features(self, role: str, student: Taps, teacher: Taps) -> Tensor:
        """The squared distances of the attention maps, summed over the levels."""
        total = 0.0
        for name in self.teacher_taps:
            theirs = match_size(ops.abs(teacher[name]), student[name])
            difference = attention_map(student[name], self.power) - attention_map(theirs, self.power)
            total += ops.sum(ops.square(difference), axis=1)
        return total

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "transfer": self.transfer, "power": self.power}


@register("srrl")
class SRRL(_WithMain):
    """`|S − y| + alpha·mean (h_T − r(h_S))² / mean h_T² + beta·mean (W_T h_T − W_T r(h_S))²`.

    h is the embedding, r a linear connector, W_T the teacher's frozen head: the student's features are to
    mean the same to the teacher's regression as its own. Shapes: landmarks (B, K, 2), embeddings (B, C) of
    any C; result (B,). Source: Yang et al., "Knowledge Distillation via Softmax Regression Representation
    Learning", ICLR 2021, with the regression's head in place of the softmax. The authors' connector is a
    convolution with batch normalisation and ReLU for ResNets; a teacher's swish goes below 0, so it is linear.
    """

    student_taps = ("landmarks", "embedding")
    teacher_taps = ("landmarks", "embedding")
    term_names = ("main", "features", "regression")

    def __init__(self, alpha: float = 0.05, beta: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("srrl", alpha=alpha, beta=beta)
        self.alpha, self.beta = alpha, beta
        self._heads: dict[str, Any] = {}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1, 0.05 and 1 by default."""
        return {"features": self.alpha, "regression": self.beta}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build a connector per teacher and copy the heads' weights."""
        super().attach(student, teachers)
        for role, teacher in teachers.items():
            connector = keras.layers.Dense(teacher.channels("embedding"), dtype="float32")
            connector.build((None, student.channels("embedding")))
            self.connectors[role] = connector
            self._heads[role] = teacher.head_weights()

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main`, `features` and `regression`."""

        def regression(role: str, taps: Taps) -> Tensor:
            kernel, bias = self._heads[role]
            points = ops.add(ops.matmul(self.connectors[role](student["embedding"]), kernel), bias)
            return per_sample(ops.square(points - ops.reshape(taps["landmarks"], ops.shape(points))))

        def features(role: str, taps: Taps) -> Tensor:
            return relative_distance(self.connectors[role](student["embedding"]), taps["embedding"])

        return {
            "main": per_sample(ops.abs(student["landmarks"] - y_true)),
            "features": self.over_teachers(teachers, features),
            "regression": self.over_teachers(teachers, regression),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
