"""Coordinate classification: a distribution over bins for x and another for y, per landmark (the head `simcc`).

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022, as in RTMPose
(Jiang et al., arXiv 2303.07399): two bins a pixel, a large kernel before the maps, a hidden layer that all landmarks
share. It needs no decoder to a fine resolution, and a softmax has hundreds of bins where a heatmap has thousands of
cells. Not included: RTMPose's gated attention between the landmarks, and its argmax. The coordinates are the
expectation of the bins (soft-argmax), so that the toolkit's losses on landmarks train the head; the cross-entropy on
the bins is the method `likelihood(of=bins)`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kd_loss.networks.head_registry import HeadInputs, register_built_in
from kd_loss.networks.heads import STRETCH, decoder_features, fixed

_Tensor = Any
#: bins per pixel of the input, as in RTMPose
BINS_PER_PIXEL = 2
#: maps per landmark: a student of 64 pixels has only 16 cells from which to predict a hundred bins
MAPS = 4
#: channels of the hidden layer at width 1, as in RTMPose
HIDDEN = 256


def bin_centres(count: int, stretch: float = STRETCH) -> np.ndarray:
    """Centres of bins along one axis in normalised coordinates, (count,) float32, as far beyond the crop as `grid`.

    >>> bin_centres(2, 1.0).tolist()
    [-0.25, 0.25]
    """
    return (((np.arange(count) + 0.5) / count - 0.5) * stretch).astype(np.float32)


def _axes(count: int, values: np.ndarray) -> np.ndarray:
    """(2·count, 2): `values` of the bins of x for the first output, of those of y for the second."""
    kernel = np.zeros((2 * count, 2), np.float32)
    kernel[:count, 0] = kernel[count:, 1] = values
    return kernel


def second_moment(model: keras.Model) -> _Tensor:
    """E x² + E y² of the bins, (B, K, 1)."""
    probabilities = model.get_layer("probabilities").output
    squares = np.square(bin_centres(probabilities.shape[-1] // 2))
    return fixed(np.concatenate([squares, squares])[:, None], "second_moment", probabilities)


@register_built_in("simcc", second_moment=second_moment)
def simcc_head(inputs: HeadInputs) -> dict[str, _Tensor]:
    """Compute landmarks (B, K, 2) by classification of their coordinates.

    Returns:
        `landmarks`; `bins_x` and `bins_y` (B, K, 2·size), before their softmax.
    """
    points, count = inputs.shape[0], BINS_PER_PIXEL * inputs.size
    x = decoder_features({"P5": inputs.features}, inputs.width, "simcc")
    x = keras.layers.Conv2D(points * MAPS, 1, name="simcc_maps")(x)
    height, width = x.shape[1:3]
    x = keras.layers.Reshape((height * width, points, MAPS), name="simcc_cells")(x)
    x = keras.layers.Permute((2, 1, 3), name="simcc_by_landmark")(x)
    x = keras.layers.Reshape((points, height * width * MAPS), name="simcc_flat", dtype="float32")(x)
    hidden = max(64, round(HIDDEN * inputs.width / 8) * 8)
    x = keras.layers.Dense(hidden, activation="relu", name="simcc_hidden", dtype="float32")(x)
    taps = {f"bins_{axis}": keras.layers.Dense(count, name=f"simcc_bins_{axis}", dtype="float32")(x) for axis in "xy"}
    shares = [
        keras.layers.Softmax(axis=-1, name=f"{name}_probabilities", dtype="float32")(bins)
        for name, bins in taps.items()
    ]
    both = keras.layers.Concatenate(name="probabilities", dtype="float32")(shares)
    return {"landmarks": fixed(_axes(count, bin_centres(count)), "landmarks", both), **taps}
