"""Views of a prepared split: the images and targets that a network receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment, warp
from kd_loss.datasets.occluders import SHARE, cover, covered_points
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.imaging import geometry
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.arguments import table_of, wrong


@dataclass(frozen=True, eq=False)
class CropTransform:
    """Images and targets of faces, at a network's input size.

    Attributes:
        size: side of the network's input, which may differ from that of the stored crops.
        augmentation: the random changes; none by default.
        soft: whether the targets are the soft landmarks.
        count: 0, or the number of fixed augmentations of each face, which take turns from epoch to epoch.
        look: a map of normalised points (2, 3) through which every face is seen, instead of augmentation; the
            targets stay as they are.
        visibility: whether the targets have `visibility` (B, K), with drawn occluders instead of `patch` on half of the
            augmented faces: 1: a point is visible, 0: hidden, covered or outside of the crop, NaN: unknown.
    """

    size: int
    augmentation: Augmentation = NO_AUGMENTATION
    soft: bool = False
    count: int = 0
    look: np.ndarray | None = None
    visibility: bool = False

    def targets_of(self, split: PreparedSplit) -> np.ndarray:
        """The targets (N, …) of all faces, before augmentation."""
        return split.soft if self.soft else split.target

    def rows(
        self, split: PreparedSplit, chosen: np.ndarray, answers: Mapping[str, Answers], seed: int, epoch: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return images and targets of the given faces in an epoch; they depend only on face, epoch and seed."""
        turn = epoch % self.count if self.count else epoch
        augmentation = self.augmentation if split.scheme.mirrors else replace(self.augmentation, flip=0.0)
        augmentation = replace(augmentation, patch=0.0) if self.visibility else augmentation
        visible = np.empty((len(chosen), split.scheme.shape[0]), np.float32)
        every = self.targets_of(split)
        images = np.empty((len(chosen), self.size, self.size, 3), np.uint8)
        travelling = [] if self.count else list(answers)
        points = np.empty((1 + len(travelling), len(chosen), *split.scheme.shape), np.float32)
        for row, index in enumerate(chosen):
            if self.look is not None:
                images[row] = warp(split.images[index], self.look, self.size, split.border)
                points[:, row] = every[index]
                visible[row] = visible_points(split, index, False)
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
            if self.visibility:
                # the first numbers of this face decide whether it is mirrored
                mirrored = augmentation.draw_affine(np.random.default_rng((seed, turn, int(index))))[1]
                labels = visible_points(split, index, mirrored)
                rng = np.random.default_rng((seed, turn, int(index), 1))
                drawn = augmentation != replace(NO_AUGMENTATION, flip=augmentation.flip)
                images[row], visible[row] = _occluded(images[row], points[0, row], labels, rng, SHARE if drawn else 0.0)
        targets = {"landmarks": points[0]}
        if self.visibility:
            targets["visibility"] = visible
        for number, role in enumerate(travelling, 1):
            targets[f"{role}/landmarks"] = points[number]
        for role, answer in answers.items() if self.count else ():
            for tap, values in answer.taps.items():
                targets[f"{role}/{tap}"] = np.asarray(values[turn, chosen])
        return images, targets


def visible_points(split: PreparedSplit, index: int, mirrored: bool) -> np.ndarray:
    """Which points (K,) of a stored face are visible: 1, 0, NaN for unknown; without labels, those annotated are."""
    if split.visibility is None:
        known = np.where(np.isnan(split.target[index, :, 0]), np.nan, 1.0)
    else:
        known = np.array(split.visibility[index], np.float64)
    return known[split.scheme.flip_index] if mirrored and isinstance(split.scheme, LandmarkScheme) else known


def _occluded(
    image: np.ndarray, points: np.ndarray, visible: np.ndarray, rng: np.random.Generator, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an occluder with probability `share`; the image, and the labels (K,) with what is covered or outside."""
    pixels = geometry.denormalise(points, image.shape[0])
    placed = np.isfinite(points[:, 0])
    outside = placed & (np.abs(np.where(placed[:, None], points, 0)) > 0.5).any(axis=1)
    if rng.random() < share:
        image, covered = cover(image, pixels, rng)
        # of a point whose place is not known nobody knows whether it is covered now
        visible = np.where(covered_points(pixels, covered), 0, np.where(placed | (visible == 0), visible, np.nan))
    return image, np.where(outside, 0, visible)


@dataclass(frozen=True)
class Answers:
    """A teacher's taps for all N faces of a split.

    Attributes:
        taps: tap name -> (V, N, …) float32, memory-mapped where large; `landmarks`, its targets, are
            (V, N, M, C). V is 1 or the number of views.
        views: 0: the teacher saw the faces as stored, and its landmarks are transformed with the image
            in every augmentation, like the truth. Otherwise it saw `views` fixed augmentations of
            each face, and the student sees the same ones in turn.
        pictures: (N,) uint32, a checksum of each image, in order (`datasets.plain`); None if unknown.
    """

    taps: Mapping[str, np.ndarray]
    views: int = 0
    pictures: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {tap: np.shape(values) for tap, values in table_of(self.taps, "taps", "tap -> array").items()}
        if len(shapes.get("landmarks", ())) != 4 or len({shape[:2] for shape in shapes.values()}) > 1:
            raise wrong("taps", shapes, "landmarks (V, N, K, 2), and any further tap (V, N, …)")

    @property
    def landmarks(self) -> np.ndarray:
        """(V, N, M, C)."""
        return self.taps["landmarks"]
