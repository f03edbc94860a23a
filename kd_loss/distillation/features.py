"""Distillation from a teacher's features: FitNet hints, attention transfer, SRRL."""

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
    mean_squared_error,
    register,
)
from kd_loss.distillation.feature_maps import match_size, relative_distance


@of_tensors
def hint(features: Tensor, teacher_features: Tensor) -> Tensor:
    """`mean (A_T − r(A_S))² / mean A_T²`: the distance of features in units of the teacher's own on that face.

    Args:
        features: r(A_S), the student's features behind a connector to the teacher's channels C: vectors (B, C), or
            maps (B, h, w, C), which are brought to the teacher's height and width (`match_size`).
        teacher_features: A_T, (B, C) or (B, H, W, C).

    Returns:
        (B,) float32, at least 0; 1 where the connector returns 0, between 1 and 2 for one of random weights.

    Source:
        Romero et al., "FitNets", ICLR 2015; the unit is not the paper's.

    >>> round(float(hint([[2.0, 2.0]], [[4.0, 4.0]])[0]), 3)   # 2² / 4²
    0.25
    """
    student, teacher = ops.cast(features, "float32"), ops.cast(teacher_features, "float32")
    return relative_distance(match_size(student, teacher) if len(student.shape) == 4 else student, teacher)


def attention_sums(features: Tensor, power: float) -> Tensor:
    """Σ_c |A|^p over the channels of (B, h, w, C), flattened, (B, h·w)."""
    summed = ops.sum(ops.power(ops.abs(features) + 1e-6, power), axis=-1)
    return ops.reshape(summed, (ops.shape(summed)[0], -1))


def attention_map(features: Tensor, power: float) -> Tensor:
    """`attention_sums` of length 1, (B, h·w)."""
    flat_sums = attention_sums(features, power)
    return flat_sums / (ops.norm(flat_sums, axis=1, keepdims=True) + 1e-9)


@of_tensors
def attention_transfer(features: Tensor, teacher_features: Tensor, power: float = 2.0) -> Tensor:
    """`‖q(A_S) − q(A_T)‖²`, `q(A) = Σ_c |A|^p / ‖Σ_c |A|^p‖`, of one pair of feature maps; the paper adds up several.

    Args:
        features: A_S, (B, h, w, C).
        teacher_features: A_T, (B, H, W, C′) of any size and channels; its absolute values are brought to h × w.
        power: p, above 0.

    Returns:
        (B,) float32, 0…2.

    Source:
        Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017 (p = 2).

    Two cells that look at opposite places, (1, 0) and (0, 1):

    >>> round(float(attention_transfer([[[[3.0], [0.0]]]], [[[[0.0], [5.0]]]])[0]), 3)
    2.0
    """
    student, teacher = ops.cast(features, "float32"), ops.abs(ops.cast(teacher_features, "float32"))
    difference = attention_map(student, power) - attention_map(match_size(teacher, student), power)
    return ops.sum(ops.square(difference), axis=1)


@of_tensors
def srrl(features: Tensor, teacher: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """`mean (T − W_T r(h_S))²`: the teacher's head applied to the student's features; SRRL adds it to a `hint`.

    Args:
        features: r(h_S), the student's embedding behind a connector to the teacher's channels, (B, C).
        teacher: the teacher's landmarks T = W_T h_T, (B, K, 2) or (B, 2K), normalised.
        kernel: kernel of the teacher's linear head W_T, (C, 2K).
        bias: bias of that head, (2K,).

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    Source:
        Yang et al., "Knowledge Distillation via Softmax Regression Representation Learning", ICLR 2021, with the
        regression's head in place of the softmax.

    >>> round(float(srrl([[1.0]], [[0.25, 0.25]], kernel=[[0.5, 0.25]], bias=[0.0, 0.0])[0]), 5)   # (0.25² + 0) / 2
    0.03125
    """
    kernel, bias = (ops.cast(weights, "float32") for weights in (kernel, bias))
    points = ops.matmul(ops.cast(features, "float32"), kernel) + bias
    return mean_squared_error(teacher, points)


class _Connected(TeacherMean):
    """Base of methods with a connector from the student's features to those of each teacher."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.connectors: dict[str, keras.layers.Layer] = {}


@register("fitnet")
class FitNet(_Connected):
    """`|S − y| + hint·mean (A_T − r(A_S))² / mean A_T²` at P4, r a 1 × 1 convolution to the teacher's channels.

    Shapes: landmarks (B, K, 2), P4 (B, h, w, C) of any size and channels; result (B,). The larger map is
    brought to the size of the teacher's. The unit, which is not in the paper, makes the term as large as the main one
    at the start whatever the teacher's features are. Source: Romero et al., ICLR 2015.
    """

    student_taps = ("landmarks", "P4")
    teacher_taps = ("P4",)
    term_names = ("main", "hint")
    single_taps = ("P4",)

    def __init__(self, hint: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(hint=hint)
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

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`hint`, of the student's map behind its connector."""
        return {"hint": hint(self.connectors[role](student["P4"]), teacher["P4"])}


@register("attention")
class Attention(TeacherMean):
    """`|S − y| + transfer·Σ_n ‖q(A_S) − q(A_T)‖²`, `q(A) = Σ_c |A|^p / ‖Σ_c |A|^p‖`, at P3 and P4.

    Shapes: landmarks (B, K, 2), maps (B, h, w, C) of any size and channels; result (B,). Sizes are matched
    to the student's. P5, which the paper takes as well, is missing in networks that are cut. Source: Zagoruyko &
    Komodakis, ICLR 2017 (p = 2).
    """

    student_taps = ("landmarks", "P3", "P4")
    teacher_taps = ("P3", "P4")
    term_names = ("main", "transfer")
    single_taps = ("P3", "P4")

    def __init__(self, transfer: float = 0.1, power: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(transfer=transfer)
        self._positive(power=power)
        self.transfer, self.power = transfer, power

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 0.1 by default."""
        return {"transfer": self.transfer}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`transfer`, summed over the levels."""
        levels = [attention_transfer(student[tap], teacher[tap], self.power) for tap in self.teacher_taps]
        return {"transfer": sum(levels)}


@register("srrl")
class SRRL(_Connected):
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
        self._not_negative(alpha=alpha, beta=beta)
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

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`features` and `regression`."""
        # call the connector twice: the order in which gradients are summed keeps seeded trainings reproducible
        connect, embedding = self.connectors[role], student["embedding"]
        return {
            "features": hint(connect(embedding), teacher["embedding"]),
            "regression": srrl(connect(embedding), teacher["landmarks"], *self._heads[role]),
        }
