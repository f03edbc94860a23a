"""What a student may take from the relations between the faces of a batch: RKD and PKT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kd_loss.distillation.base import Taps, TeacherMean, Tensor, check_positive, per_sample, register


def pairwise_distances(embedding: Tensor) -> Tensor:
    """Euclidean distances (B, B) of rows (B, C), divided by the mean of those between different rows."""
    squares = ops.sum(ops.square(embedding), axis=1)
    gram = ops.matmul(embedding, ops.transpose(embedding))
    squared = ops.maximum(squares[:, None] + squares[None] - 2 * gram, 0.0)
    count = ops.shape(embedding)[0]
    apart = 1.0 - ops.eye(count)
    distance = ops.sqrt(squared + 1e-12) * apart
    pairs = ops.cast(count * (count - 1), "float32")
    return distance / (ops.sum(distance) / ops.maximum(pairs, 1.0) + 1e-9)


def angles(embedding: Tensor) -> Tensor:
    """Cosines (B, B, B) of the angles j i k at every row i, 0 where two of the three are the same."""
    direction = embedding[None] - embedding[:, None]
    unit = direction / ops.sqrt(ops.sum(ops.square(direction), axis=-1, keepdims=True) + 1e-12)
    return ops.matmul(unit, ops.transpose(unit, (0, 2, 1)))


def huber(difference: Tensor) -> Tensor:
    """½ x² up to 1, |x| − ½ beyond."""
    size = ops.abs(difference)
    return ops.where(size <= 1, 0.5 * ops.square(size), size - 0.5)


def conditional_probabilities(embedding: Tensor) -> Tensor:
    """PKT's (B, B): cosine similarities moved to 0…1, without the diagonal, rows summing to 1."""
    unit = embedding / (ops.norm(embedding, axis=1, keepdims=True) + 1e-9)
    similarity = (ops.matmul(unit, ops.transpose(unit)) + 1) / 2
    similarity *= 1.0 - ops.eye(ops.shape(embedding)[0])
    return similarity / (ops.sum(similarity, axis=1, keepdims=True) + 1e-9)


class _Relational(TeacherMean):
    """The truth's absolute error and relations of embeddings."""

    relational = True
    student_taps = ("landmarks", "embedding")
    teacher_taps = ("embedding",)


@register("rkd")
class RKD(_Relational):
    """`|S − y| + distance·huber(ψ_D(S) − ψ_D(T)) + angle·huber(ψ_A(S) − ψ_A(T))`.

    ψ_D are the pairwise distances of the embeddings over their mean, ψ_A the cosines in all triples; a
    sample's value is the mean over its pairs and triples. Shapes: landmarks (B, K, 2), embeddings (B, C)
    of any C; result (B,). Source: Park et al., CVPR 2019 (weights 25 and 50 for classification; here
    relative to a main term that is small).
    """

    term_names = ("main", "distance", "angle")

    def __init__(self, distance: float = 0.025, angle: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("rkd", distance=distance, angle=angle)
        self.distance, self.angle = distance, angle

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1, 0.025 and 0.05 by default."""
        return {"distance": self.distance, "angle": self.angle}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main`, `distance` and `angle`."""
        mine = student["embedding"]
        return {
            "main": per_sample(ops.abs(student["landmarks"] - y_true)),
            "distance": self.over_teachers(
                teachers,
                lambda _, t: per_sample(huber(pairwise_distances(mine) - pairwise_distances(t["embedding"]))),
            ),
            "angle": self.over_teachers(
                teachers, lambda _, t: per_sample(huber(angles(mine) - angles(t["embedding"])))
            ),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), **self.weights_of_terms}


@register("pkt")
class PKT(_Relational):
    """`|S − y| + transfer·Σ_j p_T(j|i) log(p_T(j|i) / p_S(j|i))`, p from cosine similarities in a batch.

    Shapes: landmarks (B, K, 2), embeddings (B, C) of any C; result (B,). Source: Passalis & Tefas, ECCV 2018.
    """

    term_names = ("main", "transfer")

    def __init__(self, transfer: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive("pkt", transfer=transfer)
        self.transfer = transfer

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 1 by default."""
        return {"transfer": self.transfer}

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`main` and `transfer`."""
        mine = conditional_probabilities(student["embedding"])

        def divergence(_: str, taps: Taps) -> Tensor:
            theirs = conditional_probabilities(taps["embedding"])
            return ops.sum(theirs * ops.log((theirs + 1e-9) / (mine + 1e-9)), axis=1)

        return {
            "main": per_sample(ops.abs(student["landmarks"] - y_true)),
            "transfer": self.over_teachers(teachers, divergence),
        }

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        return {**super().get_config(), "transfer": self.transfer}
