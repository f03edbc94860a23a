"""The interface of schemes, which hides the kind of target from the rest of the package.

Losses, cached predictions, resume and export handle arrays (B, N, C).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_vectors
from kd_loss.schemes.known_yaw import encoded
from kd_loss.system.files import Json

#: a tensor of the current Keras backend; the backends share no type
Tensor: TypeAlias = Any


@dataclass(frozen=True)
class HeadPlacement:
    """The place of a head in an image, if its archive records it.

    Attributes:
        rotation: (3, 3), head axes to camera axes (x right, y down, z away), against the ray through its middle.
        middle: (x, y) of its middle in the image's pixels; width: of a head there, in pixels.
        known_yaw: the archive's yaw in degrees and the head's lean in the image, clockwise, if these are known better
            than the rotation, see `schemes.known_yaw`.
        yaw_alone: whether the target keeps no more of the rotation than these.
    """

    rotation: np.ndarray
    middle: tuple[float, float]
    width: float
    known_yaw: tuple[float, float] | None = None
    yaw_alone: bool = False

    def through(self, affine: np.ndarray) -> np.ndarray:
        """Rotation vector, and x, y and log depth (2, 3), seen through a rotation-free map from pixels to a crop."""
        x, y = geometry.apply(affine, self.middle)
        turned = to_vectors(self.rotation)
        if self.yaw_alone and self.known_yaw is not None:
            turned = encoded(*map(math.radians, self.known_yaw))
        return np.array([turned, [x, y, -np.log(self.width * affine[0, 0])]])


class Scheme(Protocol):
    """One kind of target: an array (N, C) per face. `LandmarkScheme` is for landmarks, `PoseScheme` for poses.

    Attributes:
        name: of the dataset; noun: what is predicted, in words.
        shape: (N, C).
        array: the name of the file with its targets in a prepared dataset, without `.npy`.
        outputs: the meaning of the numbers, for cards.
        predicted: the plural noun for its targets; apart_unit: unit of `apart`.
        metric: the history column of the training error; metric_words, unit: description and unit of that error.
        furthest: the largest absolute value in a target.
        mirrors: whether a mirrored face is a valid face of the scheme.
        official, test_subsets: see `LandmarkScheme`.
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
        """Transform targets (…, N, C) of a crop by a similarity (2, 3) of normalised points."""

    def training_error(self, truth: Tensor, predicted: Tensor) -> Tensor:
        """The error of each face, (B, N, C) each -> (B,), in `keras.ops`; not finite where it is unknown."""

    def completed(self, truth: Tensor, predicted: Tensor) -> Tensor:
        """The truth (B, N, C) with the prediction in place of what is not annotated (NaN), in `keras.ops`."""

    def malformed(self, missing: np.ndarray) -> np.ndarray:
        """Rows (B, N) of targets of which a number is missing (B, N, C) that may not be, beside others."""

    def agrees(self, other: Scheme | None) -> bool:
        """Whether another scheme's numbers have the same meaning without conversion."""

    def reads(self, other: Scheme) -> bool:
        """Whether `read` can convert from another scheme."""

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Convert targets (…, M, D) of another scheme (None: a network without a card); None if it is impossible."""

    def target(self, points: np.ndarray, place: HeadPlacement | None, affine: np.ndarray) -> np.ndarray:
        """A face's target (N, C) from its points (K, 2) in the crop, and its place seen through a map to it."""

    def fitted(self, targets: np.ndarray) -> Scheme:
        """The scheme with its statistics fitted to the training faces' targets (B, N, C)."""

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """Convert targets (…, N, C) from `target` to the numbers that the network learns."""

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """The better crop (x0, y0, side) of a face whose targets (N, C) were predicted in the crop `square`."""

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of a report that follow from the targets (B, N, C): name -> indices of their faces."""

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """Distances (B, …) between two networks' predictions (B, N, C): pixels of an input of `size`, or degrees."""

    def to_dict(self) -> Json:
        """Plain values for cards and manifests."""
