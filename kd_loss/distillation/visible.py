"""The loss of a student's second output, which points are visible."""

from __future__ import annotations

from keras import ops

from kd_loss.distillation.base import Tensor


def visibility_loss(labels: Tensor, predicted: Tensor, faces: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`−v log p − (1 − v) log (1 − p)`, the mean over the points with a label.

    Args:
        labels: (B, K), 1: visible, 0: hidden, NaN: unknown.
        predicted: (B, K) 0…1.
        faces: (B,) weights of the faces; None: 1.

    Returns:
        The mean, 0 if no point has a label, and the weight of all labels together.

    >>> nan = float("nan")
    >>> round(float(visibility_loss([[1.0, 0.0, nan]], [[0.5, 0.25, 0.9]])[0]), 4)    # (ln 2 + ln 4/3) / 2
    0.4904
    """
    labels, predicted = ops.cast(labels, "float32"), ops.clip(ops.cast(predicted, "float32"), 1e-6, 1 - 1e-6)
    known = ops.logical_not(ops.isnan(labels))
    label = ops.where(known, labels, 0.0)
    entropy = -label * ops.log(predicted) - (1 - label) * ops.log(1 - predicted)
    weight = ops.cast(known, "float32")
    weight = weight if faces is None else weight * ops.reshape(ops.cast(faces, "float32"), (-1, 1))
    count = ops.sum(weight)
    return ops.sum(entropy * weight) / ops.maximum(count, 1e-6), count
