"""What a scheme knows of its targets, so that the rest of the package need not.

Losses, answers, resume and export speak of arrays (B, N, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_vectors
from kd_loss.system.files import Json

#: a tensor of whichever backend Keras has: there is no common type
Tensor: TypeAlias = Any


@dataclass(frozen=True)
class Place:
    """A head in a picture, where an archive says it.

    Attributes:
        rotation: (3, 3), head axes to camera axes (x right, y down, z away), against the ray through its middle.
        middle: (x, y) of its middle in the picture's pixels; width: of a head there, in pixels.
    """

    rotation: np.ndarray
    middle: tuple[float, float]
    width: float

    def through(self, affine: np.ndarray) -> np.ndarray:
        """Rotation vector, and x, y and log depth (2, 3), seen through a map without turn from pixels to a crop."""
        x, y = geometry.apply(affine, self.middle)
        return np.array([to_vectors(self.rotation), [x, y, -np.log(self.width * affine[0, 0])]])


class Scheme(Protocol):
    """One kind of target: an array (N, C) per face. `DatasetSpec` is that of landmarks, `PoseScheme` of poses.

    Attributes:
        name: of the dataset; noun: what is predicted, in words.
        shape: (N, C).
        array: the name of the file with its targets in a prepared dataset, without `.npy`.
        outputs: what the numbers mean, for cards.
        predicted: what its targets are called, several of them; apart_unit: of `apart`.
        metric: the column of a history with the error of training; metric_words, unit: of that error.
        furthest: no number of a target lies further from 0.
        mirrors: whether a mirrored face is a face of the scheme.
        official, test_subsets: see `DatasetSpec`.
    """

    @property
    def name(self) -> str: ...
    @property
    def noun(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def array(self) -> str: ...
    @property
    def outputs(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def metric_words(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def predicted(self) -> str: ...
    @property
    def apart_unit(self) -> str: ...
    @property
    def furthest(self) -> float: ...
    @property
    def mirrors(self) -> bool: ...
    @property
    def official(self) -> Mapping[str, int]: ...
    @property
    def test_subsets(self) -> Mapping[str, tuple[str, ...]]: ...

    def move(self, targets: np.ndarray, affine: np.ndarray, mirrored: bool) -> np.ndarray:
        """Targets (…, N, C) of a crop that is seen through a similarity (2, 3) of normalised points."""

    def training_error(self, truth: Tensor, predicted: Tensor) -> Tensor:
        """The error of each face, (B, N, C) twice -> (B,), in `keras.ops`; not finite where it is not known."""

    def agrees(self, other: Scheme | None) -> bool:
        """Whether another scheme's numbers mean what this one's do, as they are."""

    def reads(self, other: Scheme) -> bool:
        """Whether `read` knows a way from another scheme."""

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Targets (…, M, D) of another scheme (None: of a network without a card) in this one; None: no way known."""

    def target(self, points: np.ndarray, place: Place | None, affine: np.ndarray) -> np.ndarray:
        """A face's target (N, C) from its points (K, 2) in the crop, and its place seen through a map to it."""

    def fitted(self, targets: np.ndarray) -> Scheme:
        """The scheme with what it takes from the training faces' targets (B, N, C)."""

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """Targets (…, N, C) of `target` as the numbers that are learnt."""

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """The square (x0, y0, side) that a face wants whose targets (N, C) were seen in the crop of another."""

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of a report that follow from the targets (B, N, C): name -> indices of their faces."""

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """How far apart two networks' answers (B, N, C) are, (B, …): pixels of an input of `size`, or degrees."""

    def to_dict(self) -> Json:
        """Plain values for cards and manifests."""
