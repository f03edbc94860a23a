"""The output layout of the finder, shared by its training and its decoding.

The finder returns two maps, one for small faces and one for large ones, with `CHANNELS` numbers per cell:

* 0: the logit of "the centre of a face's landmark box is here";
* 1, 2: from the cell's centre to the box's centre, 3: the logarithm of the box's longer side;
* 4…13: from the cell's centre to the eyes, the nose tip and the mouth corners, left of the image first.

Lengths are in units of four strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

CHANNELS = 14


@dataclass(frozen=True)
class Level:
    """One map.

    Attributes:
        stride: pixels of the input per cell.
        smallest, largest: range of sides, in pixels, of the landmark boxes that the map detects.
    """

    stride: int
    smallest: float
    largest: float

    @property
    def unit(self) -> float:
        """The unit of lengths in pixels."""
        return 4.0 * self.stride

    @cache  # noqa: B019
    def centres(self, size: int) -> np.ndarray:
        """Centres of the cells (H, W, 2) in pixels of a square input of `size`; the first pixel's centre is at 0."""
        line = (np.arange(size // self.stride) + 0.5) * self.stride - 0.5
        return np.stack(np.meshgrid(line, line), axis=-1)


#: both maps detect faces of sizes in the overlap
LEVELS = (Level(8, 8.0, 48.0), Level(16, 32.0, 1e6))


def decode(values: np.ndarray, level: Level, logit: float) -> tuple[np.ndarray, np.ndarray]:
    """Decode boxes (N, 4) `(x, y, side, side)` in pixels and scores (N,) of a map's (H, W, 14) cells above `logit`."""
    rows, columns = np.nonzero(values[..., 0] >= logit)
    cells = values[rows, columns].astype(np.float64)
    centres = level.centres(level.stride * max(values.shape[:2]))[rows, columns] + cells[:, 1:3] * level.unit
    sides = level.unit * np.exp(np.clip(cells[:, 3], -5, 5))[:, None]
    boxes = np.concatenate([centres - sides / 2, sides, sides], axis=1)
    return boxes, 1 / (1 + np.exp(-np.clip(cells[:, 0], -80, 80)))
