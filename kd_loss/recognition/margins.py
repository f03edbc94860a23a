"""The losses of recognition: softmax over the cosines to each person's centre, with a margin for the right one."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kd_loss.recognition.options import LOSSES
from kd_loss.system.errors import UserError, choose

Tensor = Any

#: the published margins
MARGINS = {"arcface": 0.5, "cosface": 0.35}


def arcface_cosine(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """`cos(θ + m)`, and `cos θ − m·sin m` where θ + m would pass π: it falls with θ everywhere.

    Args:
        cosine: cos θ between an embedding and its person's centre, any shape.
        margin: m in radians, 0…π/2.

    Source:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019.

    >>> float(arcface_cosine(0.0, math.pi / 6))   # cos 120°
    -0.5
    """
    cosine = ops.cast(cosine, "float32")
    # the slope of a square root is infinite at 0
    sine = ops.sqrt(ops.clip(1.0 - ops.square(cosine), 1e-6, 1.0))
    wide = cosine * ops.cos(margin) - sine * ops.sin(margin)
    return ops.where(cosine > -ops.cos(margin), wide, cosine - margin * ops.sin(margin))


def cosface_cosine(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """`cos θ − m`.

    Source:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.
    """
    return ops.cast(cosine, "float32") - margin


def margin_loss(
    cosines: Tensor, labels: Tensor, kind: str = "arcface", scale: float = 64.0, margin: Tensor | float = 0.5
) -> Tensor:
    """`−log softmax(s·cos)` of the right person, whose cosine is reduced by the margin.

    Args:
        cosines: (B, N) of embeddings and the centres of N persons, −1…1.
        labels: (B,) the number of each image's person.
        kind: one of `LOSSES`.
        scale: s.
        margin: m.

    Returns:
        (B,) float32, at least 0, in nats.

    >>> round(float(margin_loss([[0.5, 0.5]], [0], "cosface", scale=1.0, margin=0.5)[0]), 4)   # log(1 + e^0.5)
    0.9741
    """
    cosines = ops.cast(cosines, "float32")
    own = ops.one_hot(ops.cast(labels, "int32"), cosines.shape[-1])
    moved = (
        arcface_cosine(cosines, margin)
        if choose(kind, LOSSES, "loss") == "arcface"
        else cosface_cosine(cosines, margin)
    )
    logits = scale * ops.where(own > 0, moved, cosines)
    return ops.logsumexp(logits, axis=-1) - ops.sum(own * logits, axis=-1)


def contrast(embedding: Tensor, labels: Tensor, scale: float = 16.0) -> Tensor:
    """`−log Σ_same e^{s·cos} / Σ_others e^{s·cos}` over the other images of a batch: small where a person stands out.

    It needs no centres, so it judges persons that were not trained on. (B,), 0 for an image without another one of
    its person.
    """
    cosines = scale * ops.matmul(embedding, ops.transpose(embedding))
    labels = ops.reshape(ops.cast(labels, "int32"), (-1, 1))
    count = ops.shape(embedding)[0]
    others = 1.0 - ops.eye(count)
    same = ops.cast(labels == ops.transpose(labels), "float32") * others
    low = -1e9
    whole = ops.logsumexp(cosines + low * (1 - others), axis=1)
    own = ops.logsumexp(cosines + low * (1 - same), axis=1)
    return ops.where(ops.sum(same, axis=1) > 0, whole - own, 0.0)


class MarginHead(keras.Layer):
    """The centres of N persons; it is trained with a network and not needed by its user.

    Args:
        persons: N; size: numbers of an embedding.
        kind, scale, margin: see `margin_loss`; margin 0: the published one.
        ramp: steps over which the margin grows to its full value from 0, from which a training diverges less.
    """

    def __init__(
        self, persons: int, size: int, kind: str = "arcface", scale: float = 64.0, margin: float = 0.0, ramp: int = 0
    ):
        super().__init__(name="margin_head", dtype="float32")
        self.kind, self.scale, self.ramp = choose(kind, LOSSES, "loss"), scale, ramp
        self.margin = margin or MARGINS[self.kind]
        if not (0 < self.margin < math.pi / 2 and 0 < scale < math.inf):
            raise UserError(f"a margin of {self.margin:g} and a scale of {scale:g}: 0…1.57 and above 0 are wanted")
        self.centres = self.add_weight((size, persons), "he_normal", name="centres")
        self.step = self.add_weight((), "zeros", trainable=False, name="step")
        self.built = True

    def call(self, embedding: Tensor) -> Tensor:
        """The cosines (B, N) of embeddings (B, D) of length 1 and the centres."""
        centres = self.centres / ops.maximum(ops.norm(self.centres, axis=0, keepdims=True), 1e-6)
        return ops.matmul(ops.cast(embedding, "float32"), centres)

    def terms(self, embedding: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute one training step's numbers for embeddings (B, D) and labels (B,), and move the ramp on.

        Returns:
            `margin`, the mean loss, and `accuracy`, the share of images nearest to their own person's centre,
            without margin.
        """
        cosines = self(embedding)
        share = ops.minimum(self.step / self.ramp, 1.0) if self.ramp else 1.0
        self.step.assign(self.step + 1)
        loss = margin_loss(cosines, labels, self.kind, self.scale, self.margin * share)
        right = ops.cast(ops.argmax(cosines, axis=-1) == ops.cast(labels, "int32"), "float32")
        return {"margin": ops.mean(loss), "accuracy": ops.mean(right)}
