"""Checks that an imported network agrees with the old one."""

from __future__ import annotations

import cv2
import keras
import numpy as np

from kd_loss.importing.legacy import Convention
from kd_loss.networks.landmark_net import LandmarkNet
from kd_loss.synthetic.faces import draw_face


def trial_pictures(size: int) -> np.ndarray:
    """RGB images (24, size, size, 3), 0…255, to compare networks on: drawn faces and smooth random colours.

    Not pure noise or a single colour: so far from its training data a network can be chaotic, and amplify the rounding
    of float32 beyond any tolerance.
    """
    faces = np.stack([draw_face(size, 0, index) for index in range(12)])
    cells = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3)).astype(np.float32)
    colours = np.stack([cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR) for field in cells])
    return np.concatenate([faces, colours]).astype(np.float32)


def agreement(
    network: LandmarkNet, old: keras.Model, scaling: tuple[np.ndarray, np.ndarray], convention: Convention
) -> tuple[float, np.ndarray]:
    """The largest coordinate difference between a network and the old one, and its predictions (N, K, 2).

    The difference is in sides of the crop; for images whose points lie further out than that, it is relative to
    them, as float32 rounding is.

    Args:
        network: the new network, RGB 0…255 -> −0.5…0.5.
        old: images `pixels · scale + offset` -> old coordinates (B, 2K).
        scaling: scale and offset of the old network's pixels, each (3,).
        convention: the meaning of its coordinates.
    """
    pictures = trial_pictures(network.card.size)
    scale, offset = (np.float32(value) for value in scaling)
    m, c = convention.affine(network.card.size)
    predicted = _predict(network.model, pictures)
    expected = (m * _predict(old, pictures * scale + offset) + c).reshape(predicted.shape)
    reach = np.maximum(1, np.abs(expected).max(axis=(1, 2), keepdims=True))
    return float((np.abs(predicted - expected) / reach).max()), predicted


def _predict(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    # called directly: for a few images, compiling the network would take longest
    parts = [model(pictures[i : i + 8], training=False) for i in range(0, len(pictures), 8)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts]).astype(np.float64)
