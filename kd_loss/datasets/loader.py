"""Batches for training and validation: a `keras.utils.PyDataset` over a prepared dataset."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform
from kd_loss.system.errors import UserError


class FaceLoader(keras.utils.PyDataset):
    """Batches `(images (B, S, S, 3) uint8, {"landmarks": (B, N, C) float32})`: the targets of the split's scheme.

    The order of an epoch and every augmentation depend on (seed of the sampler, epoch, index) alone. A callback sets
    `epoch` before each epoch (`training.callbacks`). The last batch of shuffled faces is dropped if it is
    smaller than the others: batch normalisation over two faces is noise. Recorded answers of teachers
    accompany the targets, as `role/tap`.

    Args:
        sampler: the faces; transform: how they are cropped and augmented.
        answers: role -> that teacher's predictions for all faces of the split, with as many views.
        shard: (i, n): load only the rows i, i + n, … of every batch. A loader of unshuffled faces then pads its
            last batch with faces of `kind` 3, which do not count, so that all shards have equal size.
    """

    def __init__(
        self,
        sampler: FaceSampler,
        transform: CropTransform,
        *,
        batch_size: int,
        answers: Mapping[str, Answers] | None = None,
        shard: tuple[int, int] = (0, 1),
        workers: int = 2,
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        if batch_size < 1:
            raise UserError(f"--batch-size {batch_size} is less than 1")
        self.sampler, self.transform, self.shard, self.answers = sampler, transform, shard, dict(answers or {})
        self.batch_size = min(batch_size, len(sampler)) if shard[1] == 1 else batch_size
        for role, answer in self.answers.items():
            if answer.views != transform.count:
                raise ValueError(f"the recorded answers of {role} are for {answer.views} views, not {transform.count}")
        self.epoch = 0

    def __len__(self) -> int:
        count = len(self.sampler)
        return count // self.batch_size if self.sampler.shuffled else -(-count // self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        chosen = self.sampler.of(self.epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]
        first, step = self.shard
        if step == 1 or self.sampler.shuffled:
            return self.rows(chosen[first::step])
        places = np.arange(self.batch_size)[first::step]
        images, targets = self.rows(chosen[np.minimum(places, len(chosen) - 1)])
        return images, {**targets, "kind": np.where(places < len(chosen), 0, 3).astype(np.float32)}

    def rows(self, chosen: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images and targets of the given faces, as seen in this epoch."""
        return self.transform.rows(self.sampler.split, chosen, self.answers, self.sampler.seed, self.epoch)
