"""Faces that are annotated in part: which points are, and the error over those alone."""

from __future__ import annotations

from keras import ops

from kd_loss.distillation.base import Tensor, mean_squared_error, points_of

#: among a student's taps where faces are annotated in part: 1 for the points that are, 0 for others, (B, N)
ANNOTATED = "annotated"


def error_where_annotated(y_true: Tensor, y_pred: Tensor, annotated: Tensor | None = None) -> Tensor:
    """`mean_squared_error` over the points that are annotated.

    Elsewhere an answer stands in the truth's place, from which nobody errs (`Distiller`).

    Args:
        y_true, y_pred: (B, N, C) or, of landmarks, (B, 2N), normalised.
        annotated: (B, N), 1 for the points that are, 0 for others; None where all are.

    Returns:
        (B,) float32, at least 0, in squared crop sides; 0 for a face of which nothing is annotated.

    >>> round(float(error_where_annotated([[[0.0, 0.0], [9.0, 9.0]]], [[[0.1, -0.3], [0.0, 0.0]]], [[1.0, 0.0]])[0]), 4)
    0.05
    """
    if annotated is None:
        return mean_squared_error(y_true, y_pred)
    squares = ops.mean(ops.square(points_of(y_pred) - points_of(y_true)), axis=-1)
    known = ops.cast(annotated, "float32")
    return ops.sum(known * squares, axis=1) / ops.maximum(ops.sum(known, axis=1), 1.0)


def where_annotated(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 for the points of (B, K, 2) or (B, 2K) that are annotated, 0 for others, (B, K).

    Where nothing is annotated, the student's own prediction stands in the truth's place (`Distiller`).
    """
    return ops.cast(ops.any(ops.abs(points_of(y_pred) - points_of(y_true)) > 1e-7, axis=-1), "float32")
