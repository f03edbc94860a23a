"""Landmarks as targets: (K, 2), normalised to the crop; what `DatasetSpec` knows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kd_loss.imaging import geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kd_loss.schemes.base import Place, Scheme


class LandmarkTargets:
    """The part of `DatasetSpec` that is asked through `Scheme`."""

    outputs: ClassVar[str] = "(B, K, 2) as (x, y), −0.5…0.5 across the crop"
    metric: ClassVar[str] = "nme"
    metric_words: ClassVar[str] = "NME in %"
    unit: ClassVar[str] = "%"
    predicted: ClassVar[str] = "landmarks"
    apart_unit: ClassVar[str] = "px"
    #: normalised landmarks lie within half a crop of its centre, those of other faces a little further out
    furthest: ClassVar[float] = 10.0
    if TYPE_CHECKING:
        points: int
        half: tuple[int, int] | None
        normalisers: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

        @property
        def flip_index(self) -> np.ndarray: ...
        @property
        def default_normaliser(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int]:
        """(K, 2)."""
        return self.points, 2

    @property
    def noun(self) -> str:
        """E.g. `68 landmarks`."""
        return f"{self.points} landmarks"

    @property
    def mirrors(self) -> bool:
        """Not of half a face: mirrored it would show the other half, for which there are no points."""
        return self.half is None

    def move(self, targets: np.ndarray, affine: np.ndarray, mirrored: bool) -> np.ndarray:
        """Points (…, K, 2) through the map; where it mirrors, left and right change places, so that left stays left."""
        moved = geometry.apply(affine, targets)
        return moved[..., self.flip_index, :] if mirrored else moved

    def training_error(self, truth: Any, predicted: Any) -> Any:
        """NME in % of the default normaliser, (B,); not finite where that distance is not annotated."""
        from keras import ops

        seen = ops.isfinite(truth)
        there = ops.cast(seen[..., 0], "float32")
        points = ops.where(seen, truth, 0.0)
        distance = ops.norm(ops.where(seen, predicted - points, 0.0), axis=-1)
        error = ops.sum(distance, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)
        if self.default_normaliser == "box":
            extent = ops.max(ops.where(seen, points, -1e9), axis=1) - ops.min(ops.where(seen, points, 1e9), axis=1)
            return 100 * error / ops.sqrt(extent[:, 0] * extent[:, 1])
        first, second = (
            ops.mean(ops.take(truth, list(group), axis=1), axis=1)
            for group in self.normalisers[self.default_normaliser]
        )
        return 100 * error / ops.norm(first - second, axis=-1)

    def agrees(self, other: Scheme | None) -> bool:
        """Equally many landmarks."""
        return other is not None and other.shape == self.shape

    def reads(self, other: Scheme) -> bool:
        """From equally many points alone."""
        return other.shape == self.shape

    def read(self, values: np.ndarray, other: Scheme | None) -> np.ndarray | None:
        """Equally many points as they are; there is no fixed way from others (`networks.point_map` fits one)."""
        return values if values.shape[-2:] == self.shape else None

    def target(self, points: np.ndarray, place: Place | None, affine: np.ndarray) -> np.ndarray:
        """The points."""
        return points

    def fitted(self, targets: np.ndarray) -> Any:
        """Nothing is taken from the training faces."""
        return self

    def stored(self, targets: np.ndarray) -> np.ndarray:
        """As they are."""
        return targets

    def crop_again(self, square: np.ndarray, seen: np.ndarray, margin: float) -> np.ndarray:
        """About the box of the landmarks."""
        points = geometry.apply(geometry.invert(geometry.normalised_affine(square)), seen)
        return geometry.square_crop(geometry.landmark_box(points), margin)

    def rows(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """None: a benchmark's rows follow from its subsets and attributes."""
        return {}

    def apart(self, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
        """Distances (B, K) in pixels of an input of `size`."""
        return np.linalg.norm(np.asarray(second, np.float64) - first, axis=2) * size
