"""Distillation from the relations between the faces of a batch: RKD and PKT."""

from __future__ import annotations

from typing import Any

from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import Taps, TeacherMean, Tensor, per_sample, register


def pairwise_distances(embedding: Tensor) -> Tensor:
    """Compute Euclidean distances (B, B) of rows (B, C), divided by the mean distance of different rows."""
    squares = ops.sum(ops.square(embedding), axis=1)
    gram = ops.matmul(embedding, ops.transpose(embedding))
    squared = ops.maximum(squares[:, None] + squares[None] - 2 * gram, 0.0)
    count = ops.shape(embedding)[0]
    apart = 1.0 - ops.eye(count)
    distance = ops.sqrt(squared + 1e-12) * apart
    pairs = ops.cast(count * (count - 1), "float32")
    return distance / (ops.sum(distance) / ops.maximum(pairs, 1.0) + 1e-9)


def angles(embedding: Tensor) -> Tensor:
    """Compute cosines (B, B, B) of the angles j i k at every row i, 0 if two of the three are equal."""
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


@of_tensors
def rkd_distance(embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
    """`huber(ψ_D(S) − ψ_D(T))`, ψ_D the pairwise distances of a batch over their mean; a face's mean over its pairs.

    Args:
        embedding: the student's embeddings, (B, C); B at least 2.
        teacher_embedding: the teacher's, (B, C′); the widths may differ.

    Returns:
        (B,) float32, at least 0; a face's value depends on the others of its batch.

    Source:
        Park et al., "Relational Knowledge Distillation", CVPR 2019.

    Three faces on a line, evenly and unevenly: distances over their mean 3/4, 3/2, 3/4 against 1/2, 3/2, 1.

    >>> [round(float(v), 4) for v in rkd_distance([[0.0], [1.0], [2.0]], [[0.0], [1.0], [3.0]])]
    [0.0104, 0.0208, 0.0104]
    """
    student, teacher = ops.cast(embedding, "float32"), ops.cast(teacher_embedding, "float32")
    return per_sample(huber(pairwise_distances(student) - pairwise_distances(teacher)))


@of_tensors
def rkd_angle(embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
    """`huber(ψ_A(S) − ψ_A(T))`, ψ_A the cosines of the angles in all triples of a batch; a face's mean over its own.

    Args:
        embedding: the student's embeddings, (B, C); B at least 3. Memory grows with B³.
        teacher_embedding: the teacher's, (B, C′); the widths may differ.

    Returns:
        (B,) float32, 0…1.5; a face's value depends on the others of its batch.

    Source:
        Park et al., "Relational Knowledge Distillation", CVPR 2019.

    A right angle at the first face against a straight line: cosines 0 and −1, in 2 of its 9 ordered pairs, ½·1² each.

    >>> round(float(rkd_angle([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0.0], [1.0], [-1.0]])[0]), 4)
    0.1111
    """
    student, teacher = ops.cast(embedding, "float32"), ops.cast(teacher_embedding, "float32")
    return per_sample(huber(angles(student) - angles(teacher)))


@of_tensors
def pkt(embedding: Tensor, teacher_embedding: Tensor) -> Tensor:
    """`Σ_j p_T(j|i) log(p_T(j|i) / p_S(j|i))`, p from the cosine similarities in a batch.

    Args:
        embedding: the student's embeddings, (B, C); B at least 3.
        teacher_embedding: the teacher's, (B, C′); the widths may differ.

    Returns:
        (B,) float32, at least 0 but for rounding, in nats; a face's value depends on the others of its batch.

    Source:
        Passalis & Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018.

    The teacher finds the second and third face as like the first (½, ½); the student 1 to ½, that is (⅔, ⅓):

    >>> round(float(pkt([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])[0]), 4)
    0.0589
    """
    student = conditional_probabilities(ops.cast(embedding, "float32"))
    teacher = conditional_probabilities(ops.cast(teacher_embedding, "float32"))
    return ops.sum(teacher * ops.log((teacher + 1e-9) / (student + 1e-9)), axis=1)


class _Relational(TeacherMean):
    """Base of methods with the absolute error to the truth and relations of embeddings."""

    relational = True
    student_taps = ("landmarks", "embedding")
    teacher_taps = ("embedding",)
    single_taps = ("embedding",)


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
        self._not_negative(distance=distance, angle=angle)
        self.distance, self.angle = distance, angle

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1, 0.025 and 0.05 by default."""
        return {"distance": self.distance, "angle": self.angle}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`distance` and `angle`."""
        embeddings = student["embedding"], teacher["embedding"]
        return {"distance": rkd_distance(*embeddings), "angle": rkd_angle(*embeddings)}


@register("pkt")
class PKT(_Relational):
    """`|S − y| + transfer·Σ_j p_T(j|i) log(p_T(j|i) / p_S(j|i))`, p from cosine similarities in a batch.

    Shapes: landmarks (B, K, 2), embeddings (B, C) of any C; result (B,). Source: Passalis & Tefas, ECCV 2018.
    """

    term_names = ("main", "transfer")

    def __init__(self, transfer: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._not_negative(transfer=transfer)
        self.transfer = transfer

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and 1 by default."""
        return {"transfer": self.transfer}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`transfer`."""
        return {"transfer": pkt(student["embedding"], teacher["embedding"])}
