"""Batches of persons' images, with the stored maps of a landmark network."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import keras
import numpy as np

from kd_loss.recognition.dataset import Persons
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import counted


def split_persons(persons: Persons, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the images to train on, and of those of about `share` of the persons, chosen by their names.

    At least two persons are held out, if any: the loss of one alone, without another to tell it from, is always 0.

    Raises:
        UserError: there are too few persons to train on two and hold out two.
    """
    drawn = {name: zlib.crc32(name.encode()) for name in persons.persons}
    if share and len(drawn) < 4:
        raise UserError(
            f"{counted(len(drawn), 'person')}: two to train on and two to hold out are the least; give --validation 0"
        )
    count = min(max(round(share * len(drawn)), 2), len(drawn) - 2) if share else 0
    held = set(sorted(drawn, key=lambda name: (drawn[name], name))[:count])
    out = np.array([str(name) in held for name in persons.person])
    return np.flatnonzero(~out), np.flatnonzero(out)


class PersonsLoader(keras.utils.PyDataset):
    """Batches `({"image": (B, S, S, 3) uint8, tap: (B, h, w, C)}, {"label": (B,), "cluster": (B,)})`.

    Half of the images are mirrored, with the maps of their mirror image, and brightness varies by `light`; a
    image's randomness depends on (seed, epoch, batch) alone.

    Attributes:
        epoch: set before each epoch (`training.callbacks.EpochCounter`).
        clusters: (N,) pseudo-label of each image of the split, −1 for none.

    Args:
        persons: the split; chosen: the numbers of its images that are loaded.
        labels: (N,) the class of each image of the split.
        maps: see `stored_maps`; other_maps: give each image those of another one, always the same, a control.
        train: whether to shuffle and change the images.
    """

    def __init__(
        self,
        persons: Persons,
        chosen: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        maps: Mapping[str, np.ndarray] | None = None,
        other_maps: bool = False,
        light: float = 0.2,
        train: bool = True,
    ):
        super().__init__(workers=1)
        self.images, self.chosen, self.labels, self.maps = persons.images, chosen, labels, dict(maps or {})
        self.batch_size, self.seed, self.light, self.train = min(batch_size, len(chosen)), seed, light, train
        self.clusters = np.full(len(persons), -1)
        self.epoch = 0
        self.of_maps = np.arange(len(persons))
        if other_maps:
            self.of_maps = np.random.default_rng((seed, 9)).permutation(len(persons))

    def __len__(self) -> int:
        return len(self.chosen) // self.batch_size

    def __getitem__(self, batch: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        epoch = self.epoch + 1 if self.train else 0
        order = np.random.default_rng((self.seed, epoch)).permutation(self.chosen) if self.train else self.chosen
        rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, epoch, batch + 1))
        mirrored = rng.random(len(rows)) < 0.5 if self.train else np.zeros(len(rows), bool)
        images = self.images[rows]
        images[mirrored] = images[mirrored][:, :, ::-1]
        if self.train and self.light:
            gain = rng.uniform(1 - self.light, 1 + self.light, (len(rows), 1, 1, 1)).astype(np.float32)
            images = np.clip(images * gain, 0, 255).astype(np.uint8)
        x = {"image": images}
        x |= {name: values[self.of_maps[rows], mirrored.astype(int)] for name, values in self.maps.items()}
        return x, {"label": self.labels[rows], "cluster": self.clusters[rows]}
