"""The faces of a training: which ones, and in what batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedSplit, holdout
from kd_loss.datasets.unlabelled import MixedLoader
from kd_loss.training.options import TrainingOptions
from kd_loss.training.processes import Processes


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """Faces without landmarks beside the annotated ones, see `datasets.unlabelled`.

    Attributes:
        split: its landmarks are the teachers' predictions; answers: of recorded teachers about it.
        weight, mix_weight: of the distilling terms on them, of the error on mixtures.
        mix_alpha: of the distribution of mixtures.
    """

    split: PreparedSplit
    answers: Mapping[str, Answers]
    weight: float
    mix_weight: float
    mix_alpha: float

    @property
    def mixed(self) -> bool:
        """Whether mixtures take part."""
        return bool(self.mix_weight and self.mix_alpha)


def augmentation_of(options: TrainingOptions) -> Augmentation:
    """The augmentation of the training faces."""
    chosen = Augmentation().scaled(options.augment) if options.augment else NO_AUGMENTATION
    own = {"shift": options.shift, "scale": options.scale}
    return dataclasses.replace(chosen, **{name: value for name, value in own.items() if value is not None})


class TrainingFaces:
    """The training faces as batches, and those held out.

    Attributes:
        chosen, held: indices into the split.
        loader: of the training; validation: of the faces held out, None without any.
        mean_shape: (K, 2) of the targets.
    """

    def __init__(
        self,
        options: TrainingOptions,
        split: PreparedSplit,
        *,
        soft: bool,
        answers: Mapping[str, Answers],
        unlabelled: Unlabelled | None,
        processes: Processes,
    ):
        self.chosen, self.held = holdout(split, options.validation, options.seed)
        self.size = options.size or split.size
        views = {answer.views for answer in answers.values()} or {0}
        common: dict[str, Any] = {
            "size": self.size, "batch_size": options.batch_size, "seed": options.seed, "workers": options.workers,
            "augmentation": augmentation_of(options), "views": max(views), "shard": (processes.index, processes.count),
        }  # fmt: skip
        faces = FaceLoader(split, self.chosen, soft=soft, answers=answers, extra_share=options.extra_share, **common)
        self.loader: FaceLoader | MixedLoader = faces
        if unlabelled:
            more = FaceLoader(unlabelled.split, np.arange(len(unlabelled.split)), answers=unlabelled.answers, **common)
            self.loader = MixedLoader(faces, more, unlabelled.mix_alpha if unlabelled.mixed else 0.0, options.seed)
        alone = {**common, "augmentation": None, "views": 0, "workers": 1}
        self.validation = FaceLoader(split, self.held, soft=soft, **alone) if len(self.held) else None
        self.mean_shape = np.nanmean(faces.targets[self.chosen], axis=0)
