"""Features of two networks, brought to one size and compared in units of the teacher's."""

from __future__ import annotations

from keras import ops

from kd_loss.distillation.base import Tensor, per_sample


def relative_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of features (B, …) in units of the teacher's own mean square on that face, (B,).

    Without this unit a term scales with the teacher's features, an order of magnitude above the error of landmarks;
    with it, a connector that returns 0 gives 1, and one of random weights starts between 1 and 2.
    """
    teacher = ops.cast(teacher, "float32")
    return per_sample(ops.square(teacher - student)) / (per_sample(ops.square(teacher)) + 1e-3)


def match_size(features: Tensor, like: Tensor) -> Tensor:
    """Interpolate feature maps (B, h, w, C) to the height and width of others; where these are smaller, by a triangle.

    The triangle is as wide as a cell of the smaller map on either side: not the mean of blocks.
    """
    size = (like.shape[1], like.shape[2])
    return features if tuple(features.shape[1:3]) == size else ops.image.resize(features, size, antialias=True)
