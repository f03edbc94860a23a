"""From keypoints to motion, and from motion to an image: for training a detector, and for animation.

`modules/dense_motion.py` and `modules/generator.py` of first-order-model (Siarohin et al., NeurIPS 2019; MIT), smaller.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.keypoints.losses import inverse
from kd_loss.keypoints.warp import sample
from kd_loss.networks.keypoint_detector import places

L = keras.layers
Tensor = Any

#: variance of the Gaussian drawn at a keypoint
VARIANCE = 0.01


def sparse_motion(
    source: dict[str, Tensor], driving: dict[str, Tensor], grid: np.ndarray, with_jacobians: bool = True
) -> Tensor:
    """The source position of each cell of the driving image, for each keypoint, (B, K + 1, N, 2).

    T_k(z) = kp_S + J_S J_D⁻¹ (z − kp_D) on a grid (N, 2); the first one is the background: T(z) = z.
    """
    moved = ops.convert_to_tensor(grid)[None, None] - driving["keypoints"][:, :, None]
    if with_jacobians:
        slope = ops.matmul(source["jacobians"], inverse(driving["jacobians"]))
        moved = ops.matmul(moved, ops.swapaxes(slope, 2, 3))
    moved = moved + source["keypoints"][:, :, None]
    still = ops.zeros_like(moved[:, :1]) + ops.convert_to_tensor(grid)
    return ops.concatenate([still, moved], axis=1)


def drawn(keypoints: Tensor, grid: np.ndarray) -> Tensor:
    """exp(−|z − kp|² / 0.02), (B, K, N)."""
    squared = ops.sum(ops.square(ops.convert_to_tensor(grid)[None, None] - keypoints[:, :, None]), axis=-1)
    return ops.exp(-squared / (2 * VARIANCE))


def _block(x: Tensor, channels: int, name: str, kernel: int = 3, stride: int = 1) -> Tensor:
    x = L.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return L.ReLU(name=f"{name}_relu")(L.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x))


def build_masks(side: int, points: int, width: int = 32) -> keras.Model:
    """Maps (B, s, s, 4(K + 1)) -> masks (B, s, s, K + 1) that sum to 1, and occlusion (B, s, s, 1) in 0…1."""
    entry = keras.Input((side, side, 4 * (points + 1)), name="cues")
    first = _block(entry, width, "entry")
    second = _block(L.AveragePooling2D(2)(first), 3 * width // 2, "down1")
    third = _block(L.AveragePooling2D(2)(second), 2 * width, "down2")
    x = _block(L.UpSampling2D(2)(third), 3 * width // 2, "up2")
    x = _block(L.UpSampling2D(2)(L.Concatenate()([x, second])), width, "up1")
    x = L.Concatenate()([x, first])
    masks = L.Softmax(name="masks")(L.Conv2D(points + 1, 3, padding="same", name="logits")(x))
    seen = L.Conv2D(1, 3, padding="same", activation="sigmoid", name="occlusion")(x)
    return keras.Model(entry, [masks, seen], name="masks")


def build_encoder(size: int, width: int) -> keras.Model:
    """Images (B, S, S, 3) in 0…1 -> features (B, S/4, S/4, 4·width)."""
    entry = keras.Input((size, size, 3), name="picture")
    x = _block(entry, width, "entry", kernel=7)
    x = _block(_block(x, 2 * width, "down1", stride=2), 4 * width, "down2", stride=2)
    return keras.Model(entry, x, name="encoder")


def build_decoder(size: int, width: int, blocks: int = 2) -> keras.Model:
    """Features (B, S/4, S/4, 4·width) -> images (B, S, S, 3) in 0…1."""
    entry = keras.Input((size // 4, size // 4, 4 * width), name="features")
    x = entry
    for block in range(blocks):
        y = _block(x, 4 * width, f"block{block}a")
        x = L.Add(name=f"block{block}")([x, L.Conv2D(4 * width, 3, padding="same", name=f"block{block}b")(y)])
    x = _block(L.UpSampling2D(2)(x), 2 * width, "up1")
    x = _block(L.UpSampling2D(2)(x), width, "up2")
    picture = L.Conv2D(3, 7, padding="same", activation="sigmoid", name="picture")(x)
    return keras.Model(entry, picture, name="decoder")


class Animator(keras.Model):
    """The driving image from the source image and both images' keypoints.

    Args:
        size: S, a multiple of 16; points: K; width: channels of the finest features.

    The motion field has S/4 cells per side, as published.
    """

    def __init__(self, size: int, points: int, width: int = 12):
        super().__init__(name="animator")
        self.size, self.points, self.side = size, points, size // 4
        self.masks = build_masks(self.side, points)
        self.encoder, self.decoder = build_encoder(size, width), build_decoder(size, width)
        self.grid = places(self.side, self.side)
        self.built = True

    def call(
        self, inputs: dict[str, Any], training: bool | None = None, with_jacobians: bool = True
    ) -> dict[str, Tensor]:
        """`picture` (B, S, S, 3), `motion` (B, s, s, 2), `masks` (B, s, s, K + 1), `occlusion` (B, s, s, 1).

        `inputs`: `image`, the source image (B, S, S, 3) in 0…1, and `source` and `driving`, each with `keypoints` and
        `jacobians`.
        """
        image, source, driving = inputs["image"], inputs["source"], inputs["driving"]
        batch, side, count = ops.shape(image)[0], self.side, self.points + 1
        small = ops.average_pool(image, 4, 4)
        motions = sparse_motion(source, driving, self.grid, with_jacobians)
        seen = sample(small, ops.reshape(motions, (batch, count * side * side, 2)))
        seen = ops.reshape(seen, (batch, count, side, side, 3))
        change = drawn(driving["keypoints"], self.grid) - drawn(source["keypoints"], self.grid)
        change = ops.concatenate([ops.zeros_like(change[:, :1]), change], axis=1)
        change = ops.reshape(change, (batch, count, side, side, 1))
        cues = ops.transpose(ops.concatenate([change, seen], axis=-1), (0, 2, 3, 1, 4))
        masks, occlusion = self.masks(ops.reshape(cues, (batch, side, side, 4 * count)), training=training)
        motions = ops.reshape(motions, (batch, count, side, side, 2))
        motion = ops.sum(ops.transpose(masks, (0, 3, 1, 2))[..., None] * motions, axis=1)
        features = self.encoder(image, training=training)
        moved = sample(features, ops.reshape(motion, (batch, side * side, 2)))
        moved = ops.reshape(moved, (batch, side, side, features.shape[-1])) * occlusion
        return {
            "picture": self.decoder(moved, training=training),
            "motion": motion,
            "masks": masks,
            "occlusion": occlusion,
        }
