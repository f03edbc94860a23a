"""Partly annotated faces: the mask of annotated points, and the error over those alone."""

from __future__ import annotations

from keras import ops

from kd_loss.distillation.base import Tensor, mean_squared_error, points_of

#: among a student's taps if faces are partly annotated: 1 for annotated points, 0 for others, (B, N)
ANNOTATED = "annotated"


def error_where_annotated(y_true: Tensor, y_pred: Tensor, annotated: Tensor | None = None) -> Tensor:
    """`mean_squared_error` over the points that are annotated.

    At other points a prediction stands in for the truth, so that an error there would mean nothing (`Distiller`).

    Args:
        y_true: the truth, (B, N, C) or, of landmarks, (B, 2N), normalised.
        y_pred: the prediction, likewise.
        annotated: (B, N), 1 for annotated points, 0 for others; None if all are.

    Returns:
        (B,) float32, at least 0, in squared crop sides; 0 for a face without annotated points.

    >>> round(float(error_where_annotated([[[0.0, 0.0], [9.0, 9.0]]], [[[0.1, -0.3], [0.0, 0.0]]], [[1.0, 0.0]])[0]), 4)
    0.05
    """
    if annotated is None:
        return mean_squared_error(y_true, y_pred)
    squares = ops.mean(ops.square(points_of(y_pred) - points_of(y_true)), axis=-1)
    known = ops.cast(annotated, "float32")
    return ops.sum(known * squares, axis=1) / ops.maximum(ops.sum(known, axis=1), 1.0)


def where_annotated(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 for the annotated points of (B, K, 2) or (B, 2K), 0 for others, (B, K).

    At points that are not annotated, the student's own prediction replaces the truth (`Distiller`).
    """
    return ops.cast(ops.any(ops.abs(points_of(y_pred) - points_of(y_true)) > 1e-7, axis=-1), "float32")
