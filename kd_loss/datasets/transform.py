"""Views of a prepared split: the pictures and targets that a network receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment, warp
from kd_loss.datasets.prepared import PreparedSplit


@dataclass(frozen=True, eq=False)
class CropTransform:
    """Pictures and targets of faces, at a network's input size.

    Attributes:
        size: side of the network's input, which may differ from that of the stored crops.
        augmentation: the random changes; none by default.
        soft: whether the targets are the soft landmarks.
        count: 0, or the number of fixed augmentations of each face, which take turns from epoch to epoch.
        look: a map of normalised points (2, 3) through which every face is seen, instead of augmentation; the
            targets stay as they are.
    """

    size: int
    augmentation: Augmentation = NO_AUGMENTATION
    soft: bool = False
    count: int = 0
    look: np.ndarray | None = None

    def targets_of(self, split: PreparedSplit) -> np.ndarray:
        """The targets (N, …) of all faces, before augmentation."""
        return split.soft if self.soft else split.target

    def rows(
        self, split: PreparedSplit, chosen: np.ndarray, answers: Mapping[str, Answers], seed: int, epoch: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return pictures and targets of the given faces in an epoch; they depend only on face, epoch and seed."""
        turn = epoch % self.count if self.count else epoch
        augmentation = self.augmentation if split.scheme.mirrors else replace(self.augmentation, flip=0.0)
        every = self.targets_of(split)
        images = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        travelling = [] if self.count else list(answers)
        points = np.empty((1 + len(travelling), len(chosen), *split.scheme.shape), np.float32)
        for row, index in enumerate(chosen):
            if self.look is not None:
                images[row] = warp(split.images[index], self.look, self.size, split.border)
                points[:, row] = every[index]
                continue
            images[row], points[:, row] = augment(
                split.images[index],
                np.stack([every[index], *(answers[role].landmarks[0, index] for role in travelling)]),
                self.size,
                augmentation,
                split.scheme,
                np.random.default_rng((seed, turn, int(index))),
                split.border,
            )
        targets = {"landmarks": points[0]}
        for number, role in enumerate(travelling, 1):
            targets[f"{role}/landmarks"] = points[number]
        for role, answer in answers.items() if self.count else ():
            for tap, values in answer.taps.items():
                targets[f"{role}/{tap}"] = np.asarray(values[turn, chosen])
        return images, targets


@dataclass(frozen=True)
class Answers:
    """A teacher's taps for all N faces of a split.

    Attributes:
        taps: tap name -> (V, N, …) float32, memory-mapped where large; `landmarks`, its targets, are
            (V, N, M, C). V is 1 or the number of views.
        views: 0: the teacher saw the faces as stored, and its landmarks are transformed with the picture
            in every augmentation, like the truth. Otherwise it saw `views` fixed augmentations of
            each face, and the student sees the same ones in turn.
        pictures: (N,) uint32, a checksum of each picture, in order (`datasets.plain`); None if unknown.
    """

    taps: Mapping[str, np.ndarray]
    views: int = 0
    pictures: np.ndarray | None = None

    @property
    def landmarks(self) -> np.ndarray:
        """(V, N, M, C)."""
        return self.taps["landmarks"]
