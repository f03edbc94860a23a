"""Batches for training and validation: a `keras.utils.PyDataset` over a prepared dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment, warp
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.errors import UserError


def cycled(indices: np.ndarray, start: int, count: int, seed: int, stream: int) -> np.ndarray:
    """The places `start` … of an endless row in which all indices follow again and again, each time shuffled anew."""
    places = np.arange(start, start + count)
    rows = np.empty(count, indices.dtype)
    for turn in np.unique(places // len(indices)):
        order = np.random.default_rng((seed, int(turn), stream)).permutation(indices)
        here = places // len(indices) == turn
        rows[here] = order[places[here] % len(indices)]
    return rows


class FaceLoader(keras.utils.PyDataset):
    """Batches `(images (B, S, S, 3) uint8, {"landmarks": (B, N, C) float32})`: the targets of the split's scheme.

    The order of an epoch and every augmentation depend on (seed, epoch, index) alone. A callback sets
    `epoch` before each epoch (`training.callbacks`). The last batch of a training epoch is dropped where
    it is smaller than the others: batch normalisation on two faces is noise. Recorded answers of teachers
    come with the targets, as `role/tap`.

    Args:
        split: the faces; indices: which of them.
        size: side of the network's input, which may differ from that of the stored crops.
        soft: whether the targets are the soft landmarks.
        augmentation: None for evaluation: fixed order, all faces, unchanged.
        ordered: fixed order and all faces, also with augmentation.
        look: a map of normalised points (2, 3) through which every face is seen, instead of augmentation; the
            targets stay as they are.
        extra_share: the share of an epoch that faces of other archives have, which then take turns; None: all of
            them in every epoch.
        views: 0, or the number of fixed augmentations of each face, which take turns from epoch to epoch.
        answers: role -> what that teacher said about all faces of the split, of as many views.
        shard: (i, n): of every batch only the rows i, i + n, … An ordered loader then fills its last batch up
            with faces of `kind` 3, which do not count, so that all shards are equal.
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
        ordered: bool = False,
        look: np.ndarray | None = None,
        extra_share: float | None = None,
        views: int = 0,
        answers: Mapping[str, Answers] | None = None,
        shard: tuple[int, int] = (0, 1),
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        if batch_size < 1:
            raise UserError(f"--batch-size {batch_size} is less than 1")
        self.split, self.indices, self.size = split, np.asarray(indices), size
        self.batch_size = min(batch_size, len(self.indices)) if shard[1] == 1 else batch_size
        if not len(self.indices):
            raise UserError(f"no face to read in {split.folder}")
        self.seed = seed
        self.targets = split.soft if soft else split.landmarks
        self.ordered = ordered or augmentation is None
        self.shard, self.look = shard, look
        one_way = augmentation is not None and not split.spec.mirrors
        self.augmentation = replace(augmentation, flip=0.0) if augmentation and one_way else augmentation
        self.views, self.answers = views, dict(answers or {})
        for role, answer in self.answers.items():
            if answer.views != views:
                raise ValueError(f"the answers of {role} are for {answer.views} views, not {views}")
        extra = np.zeros(len(split), bool) if split.extra is None else np.asarray(split.extra)
        self._own, self._extra = self.indices[~extra[self.indices]], self.indices[extra[self.indices]]
        if extra_share is None or self.ordered or not len(self._extra):
            self._own, self._extra, extra_share = self.indices, self.indices[:0], 0.0
        if not len(self._own):
            raise UserError("every training face is one of another archive (--also): a share of them means nothing")
        self._extra_count = round(len(self._own) * extra_share / (1 - extra_share))
        self.epoch = 0
        self._shuffled: tuple[int, np.ndarray] = (-1, self.indices)

    def __len__(self) -> int:
        count = len(self._own) + self._extra_count
        return -(-count // self.batch_size) if self.ordered else count // self.batch_size

    def order(self) -> np.ndarray:
        """The faces in this epoch's order."""
        if self.ordered:
            return self.indices
        epoch, order = self._shuffled
        if epoch != self.epoch:  # drawn once an epoch: once a batch, the time would be quadratic in the faces
            epoch = self.epoch
            chosen = np.concatenate([self._own, self._turn(epoch)]) if self._extra_count else self._own
            order = np.random.default_rng((self.seed, epoch)).permutation(chosen)
            self._shuffled = epoch, order
        return order

    def _turn(self, epoch: int) -> np.ndarray:
        """The faces of other archives in an epoch: their whole number in an order of its own, again and again."""
        return cycled(self._extra, epoch * self._extra_count, self._extra_count, self.seed, 3)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        chosen = self.order()[batch * self.batch_size : (batch + 1) * self.batch_size]
        first, step = self.shard
        if step == 1 or not self.ordered:
            return self.rows(chosen[first::step])
        places = np.arange(self.batch_size)[first::step]
        images, targets = self.rows(chosen[np.minimum(places, len(chosen) - 1)])
        return images, {**targets, "kind": np.where(places < len(chosen), 0, 3).astype(np.float32)}

    def rows(self, chosen: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Pictures and targets of the named faces, as this epoch shows them."""
        turn = self.epoch % self.views if self.views else self.epoch
        border = self.split.border
        images = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        travelling = [] if self.views else list(self.answers)
        points = np.empty((1 + len(travelling), len(chosen), *self.split.spec.shape), np.float32)
        for row, index in enumerate(chosen):
            if self.look is not None:
                images[row] = warp(self.split.images[index], self.look, self.size, border)
                points[:, row] = self.targets[index]
                continue
            images[row], points[:, row] = augment(
                self.split.images[index],
                np.stack([self.targets[index], *(self.answers[role].landmarks[0, index] for role in travelling)]),
                self.size,
                self.augmentation or NO_AUGMENTATION,
                self.split.spec,
                np.random.default_rng((self.seed, turn, int(index))),
                border,
            )
        targets = {"landmarks": points[0]}
        for number, role in enumerate(travelling, 1):
            targets[f"{role}/landmarks"] = points[number]
        for role, answer in self.answers.items() if self.views else ():
            for tap, values in answer.taps.items():
                targets[f"{role}/{tap}"] = np.asarray(values[turn, chosen])
        return images, targets
