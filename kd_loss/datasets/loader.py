"""Batches for training and validation: a `keras.utils.PyDataset` over a prepared dataset."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.errors import UserError


class FaceLoader(keras.utils.PyDataset):
    """Batches `(images (B, S, S, 3) uint8, {"landmarks": (B, K, 2) float32})`.

    The order of an epoch and every augmentation depend on (seed, epoch, index) alone. A callback sets
    `epoch` before each epoch (`training.callbacks`). The last batch of a training epoch is dropped where
    it is smaller than the others: batch normalisation on two faces is noise.

    Args:
        split: the faces; indices: which of them.
        size: side of the network's input, which may differ from that of the stored crops.
        soft: whether the targets are the soft landmarks.
        augmentation: None for evaluation: fixed order, all faces, unchanged.
    """

    def __init__(
        self,
        split: PreparedSplit,
        indices: Sequence[int] | np.ndarray,
        *,
        size: int,
        batch_size: int,
        seed: int = 0,
        soft: bool = False,
        augmentation: Augmentation | None = None,
        workers: int = 2,
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        if batch_size < 1:
            raise UserError(f"--batch-size {batch_size} is less than 1")
        self.split, self.indices, self.size = split, np.asarray(indices), size
        self.batch_size = min(batch_size, len(self.indices))
        if not len(self.indices):
            raise UserError(f"no face to read in {split.folder}")
        self.seed, self.augmentation = seed, augmentation
        self.targets = split.soft if soft else split.landmarks
        self.epoch = 0

    def __len__(self) -> int:
        count = len(self.indices)
        return count // self.batch_size if self.augmentation else -(-count // self.batch_size)

    def order(self) -> np.ndarray:
        """The faces in this epoch's order."""
        if self.augmentation is None:
            return self.indices
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.indices)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        chosen = self.order()[batch * self.batch_size : (batch + 1) * self.batch_size]
        images = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        landmarks = np.empty((len(chosen), self.split.spec.points, 2), np.float32)
        for row, index in enumerate(chosen):
            images[row], landmarks[row] = augment(
                self.split.images[index],
                self.targets[index],
                self.size,
                self.augmentation or NO_AUGMENTATION,
                self.split.spec.flip_index,
                np.random.default_rng((self.seed, self.epoch, int(index))),
            )
        return images, {"landmarks": landmarks}
