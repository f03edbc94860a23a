"""The reference way of distilling, small, from its description: the baseline of `kd-loss benchmark --training`.

Both teachers are called by `predict_on_batch` for every batch of every epoch, the student's step runs in eager
mode, and images and landmarks are read from files as it goes. There is no augmentation online: the reference
keeps augmented images on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from kd_loss.distillation import kd_loss_terms


def reference(
    student: keras.Model,
    teachers: list[keras.Model],
    images: np.ndarray,
    landmarks: np.ndarray,
    batch: int,
    folder: Path,
) -> Callable[[], None]:
    """An epoch of it; images (N, S, S, 3) uint8 RGB and normalised landmarks (N, K, 2) are written to `folder`."""
    optimizer = keras.optimizers.Adam(1e-3)
    for i, (image, points) in enumerate(zip(images, landmarks, strict=True)):
        cv2.imwrite(str(folder / f"{i}.jpg"), image[..., ::-1])
        np.save(folder / f"{i}.npy", points)

    def epoch() -> None:
        order = np.random.default_rng(0).permutation(len(images))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            pictures = np.stack([cv2.imread(str(folder / f"{i}.jpg"))[..., ::-1] for i in chosen]).astype(np.float32)
            truth = np.stack([np.load(folder / f"{i}.npy") for i in chosen])
            tough, tolerant = (teacher.predict_on_batch(pictures) for teacher in teachers)
            with tf.GradientTape() as tape:
                terms = kd_loss_terms(truth, student(pictures, training=True), tough, tolerant, variant="code")
                loss = tf.reduce_mean(2 * terms["main"] + terms["tough"] + terms["tolerant"])
            gradients = tape.gradient(loss, [v.value for v in student.trainable_variables])
            optimizer.apply(gradients, student.trainable_variables)

    return epoch
