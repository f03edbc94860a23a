"""What a teacher said about the faces of a split, so that it need not be asked again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answers:
    """A teacher's taps for all N faces of a split.

    Attributes:
        taps: tap name -> (V, N, …) float32, memory-mapped where large; `landmarks`, its targets, are
            (V, N, M, C). V is 1 or the number of views.
        views: 0: the teacher saw the faces as they are stored, and its landmarks travel with the picture
            through every augmentation, as the truth does. Otherwise it saw `views` fixed augmentations of
            each face, and the student sees the same ones in turn.
    """

    taps: Mapping[str, np.ndarray]
    views: int = 0

    @property
    def landmarks(self) -> np.ndarray:
        """(V, N, M, C)."""
        return self.taps["landmarks"]
