"""Records a teacher's predictions on all faces of a split, on disk and memory-mapped.

They are stored in `runs/<dataset>/teacher-answers/<key>/`, see `answer_files`. The key covers the checksums of
weights and images, and the augmentation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform
from kd_loss.imaging import geometry
from kd_loss.training.teachers.answer_files import AnswerArrays, kept_answers

#: images (B, S, S, 3) uint8 -> tap name -> (B, …)
TapFunction = Callable[[np.ndarray], Mapping[str, np.ndarray]]
#: increase it to invalidate old records
FORMAT = 2
BATCH = 32


@dataclasses.dataclass(frozen=True)
class Views:
    """The fixed augmentations that a teacher sees: `count` of each face; 0: the face as stored.

    Attributes:
        context: for stored faces: width of the teacher's view in units of the crop's.
        mirror: whether it sees them mirrored.
    """

    count: int = 0
    augmentation: Augmentation | None = None
    seed: int = 0
    context: float = 1.0
    mirror: bool = False

    def describe(self) -> dict[str, Any]:
        """The part of the key that determines the images."""
        if not self.count:
            return {"count": 0, "context": self.context, "mirror": self.mirror}
        return {"count": self.count, "seed": self.seed, "augmentation": dataclasses.asdict(self.augmentation)}  # type: ignore[arg-type]


def answers_key(weights: str, data: str, taps: list[str], size: int, views: Views) -> dict[str, Any]:
    """Everything that determines the predictions; `weights` and `data` are checksums."""
    return {
        "format": FORMAT,
        "weights": weights,
        "data": data,
        "taps": sorted(taps),
        "size": size,
        "views": views.describe(),
    }


def recorded_answers(
    taps_of: TapFunction,
    split: PreparedSplit,
    folder: Path,
    key: Mapping[str, Any],
    *,
    size: int,
    views: Views,
    limit: float,
) -> tuple[Answers, float]:
    """The predictions from disk, or computed and written there; and the seconds that this took, 0 from disk.

    Args:
        taps_of: images (B, S, S, 3) -> tap name -> NumPy array.
        split: the faces.
        folder: folder of a dataset's cached predictions.
        key: what determines the predictions, see `answers_key`.
        size: side of the teacher's input images in pixels.
        views: the crops or augmentations that the teacher sees.
        limit: largest size of one teacher's predictions on disk, in GB; a larger record raises a `UserError`.
    """
    found, seconds = kept_answers(
        folder, key, lambda place: _record(taps_of, split, place, key["taps"], size, views, limit)
    )
    return Answers(found, views.count), seconds


def _record(
    taps_of: TapFunction, split: PreparedSplit, folder: Path, taps: list[str], size: int, views: Views, limit: float
) -> None:
    count = max(1, views.count)
    if views.count:
        seen = CropTransform(size, views.augmentation or NO_AUGMENTATION, count=views.count)
    else:
        seen = CropTransform(size, look=geometry.similarity(0.0, 1 / views.context, (0, 0), views.mirror))
    loader = FaceLoader(FaceSampler(split, seed=views.seed), seen, batch_size=BATCH)
    advice = f"--cache-limit is {limit:g}; raise it, take fewer --teacher-views, or --teacher-mode live"
    arrays = AnswerArrays(folder, count, len(split), taps, limit, advice)
    for view in range(count):
        loader.epoch = view
        for batch in range(len(loader)):
            answer = dict(taps_of(loader[batch][0]))
            answer["landmarks"] = np.asarray(answer["landmarks"]) * views.context
            arrays.write(view, batch * BATCH, answer)
    arrays.flush()
