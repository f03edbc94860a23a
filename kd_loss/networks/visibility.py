"""A second output: how likely each landmark is to be seen, 0…1, for networks with a pooled or a heatmap head.

A heatmap head reads the decoder's features where a landmark's map lies, and the mean of the backbone's features; a
pooled head the mean alone. One hidden layer is shared by all landmarks, each has its own last one. Built from Keras's
own layers only, so that the file loads in plain Keras.
"""

from __future__ import annotations

from typing import Any

import keras

from kd_loss.networks.head_registry import HEADS
from kd_loss.system.errors import UserError

HIDDEN = 32
HEADS_WITH_VISIBILITY = ("heatmap", "pooled")

_Tensor = Any


def check_visibility(head: str) -> None:
    """Raise `UserError` for a head that has no features to tell from."""
    if head not in HEADS_WITH_VISIBILITY or HEADS[head].own:
        raise UserError(f"--visibility is for the heads {' and '.join(HEADS_WITH_VISIBILITY)}, not for {head}")


def visibility_output(model: keras.Model, features: _Tensor, points: int, head: str) -> _Tensor:
    """Compute the probability (B, K) that each landmark is visible.

    Args:
        model: the network of the landmarks.
        features: the backbone's last map (B, h, w, C).
        points: number of landmarks K.
        head: `heatmap` or `pooled`.
    """
    check_visibility(head)

    def layer(kind: Any, *args: Any, name: str, **options: Any) -> Any:
        return kind(*args, name=f"visibility_{name}", dtype="float32", **options)

    mean = layer(keras.layers.GlobalAveragePooling2D, name="mean")(features)
    hidden = layer(keras.layers.Dense, HIDDEN, name="of_all")(mean)
    if head == "heatmap":
        fine = model.get_layer("decoder_heatmaps").input
        cells = layer(keras.layers.Reshape, (-1, fine.shape[-1]), name="cells")(fine)
        # where the landmark is: the mean of the features under its map
        local = layer(keras.layers.Dot, (2, 1), name="under_maps")([model.get_layer("probabilities").output, cells])
        local = layer(keras.layers.Dense, HIDDEN, use_bias=False, name="of_one")(local)
        hidden = layer(keras.layers.Reshape, (1, HIDDEN), name="row")(hidden)
        hidden = layer(keras.layers.Add, name="sum")([local, hidden])
        hidden = layer(keras.layers.ReLU, 6.0, name="relu")(hidden)
        last = layer(keras.layers.EinsumDense, "bkc,kc->bk", output_shape=(points,), bias_axes="k", name="each")
        logits = last(hidden)
    else:
        logits = layer(keras.layers.Dense, points, name="each")(layer(keras.layers.ReLU, 6.0, name="relu")(hidden))
    return keras.layers.Activation("sigmoid", name="visibility", dtype="float32")(logits)
