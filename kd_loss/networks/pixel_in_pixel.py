"""Pixel-in-pixel offsets: a cell of a coarse grid and an offset within it, per landmark (the head `pip`).

Jin, Liao & Shao, "Pixel-in-Pixel Net: Towards Efficient Facial Landmark Detection in the Wild", IJCV 2021: scores and
offsets are computed side by side on the backbone's last map, without a decoder. PIPNet uses the offset of the best
cell; this head uses the sum over the cells weighted by the softmax of their scores, in training and in exports, which
has a gradient everywhere and needs no argmax. The scores' own cross-entropy is the method `likelihood(of=scores)`. Not
included: offsets of neighbouring landmarks, whose votes PIPNet averages.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kd_loss.networks.head_registry import HeadInputs, register_built_in
from kd_loss.networks.heads import decoder_features, fixed, grid

_Tensor = Any


def second_moment(model: keras.Model) -> _Tensor:
    """E (x² + y²) over the cells with their offsets, (B, K, 1)."""
    _, height, width, _ = model.get_layer("pip_scores").output.shape
    places = grid(height, width, 1.0)
    parts = [model.get_layer("shares_and_offsets").output]
    kernels = [np.square(places).sum(axis=1), 2 * places[:, 0] / width, 2 * places[:, 1] / height]
    for axis, side in (("x", width), ("y", height)):
        weighted, offsets = (
            model.get_layer(name).output for name in (f"weighted_{axis}", f"offsets_{axis}_by_landmark")
        )
        parts.append(keras.layers.Multiply(name=f"squared_{axis}", dtype="float32")([weighted, offsets]))
        kernels.append(np.full(height * width, 1 / side**2))
    both = keras.layers.Concatenate(name="moments", dtype="float32")(parts)
    return fixed(np.concatenate(kernels)[:, None].astype(np.float32), "second_moment", both)


@register_built_in("pip", second_moment=second_moment)
def pip_head(inputs: HeadInputs) -> dict[str, _Tensor]:
    """Compute landmarks (B, K, 2) from the cells (h, w) of the backbone's final map.

    Returns:
        `landmarks`; `scores` (B, h, w, K) before their softmax; `offsets_x` and `offsets_y` (B, h, w, K) from a cell's
        centre, in cells.
    """
    points = inputs.shape[0]
    x = decoder_features({"P5": inputs.features}, inputs.width, "pip")
    taps = {
        name: keras.layers.Conv2D(points, 1, name=f"pip_{name}", dtype="float32")(x)
        for name in ("scores", "offsets_x", "offsets_y")
    }
    height, width = x.shape[1:3]

    def by_landmark(name: str) -> _Tensor:
        cells = keras.layers.Reshape((height * width, points), name=f"{name}_cells", dtype="float32")(taps[name])
        return keras.layers.Permute((2, 1), name=f"{name}_by_landmark", dtype="float32")(cells)

    shares = keras.layers.Softmax(axis=-1, name="probabilities", dtype="float32")(by_landmark("scores"))
    moved = [
        keras.layers.Multiply(name=f"weighted_{axis}", dtype="float32")([shares, by_landmark(f"offsets_{axis}")])
        for axis in "xy"
    ]
    # Σ p · (position + offset / side) as one product with a fixed matrix, which the runtimes keep wholly in float
    parts = keras.layers.Concatenate(name="shares_and_offsets", dtype="float32")([shares, *moved])
    cells = np.ones(height * width, np.float32)
    zeros = 0 * cells
    kernel = np.concatenate(
        [grid(height, width, 1.0), np.stack([cells / width, zeros], 1), np.stack([zeros, cells / height], 1)]
    )
    return {"landmarks": fixed(kernel, "landmarks", parts), **taps}
