"""The faces of a training: their selection and their batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.datasets.prepared import PreparedSplit, holdout
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.known_yaw import whole_rows
from kd_loss.system.errors import UserError
from kd_loss.training.options import TrainingOptions
from kd_loss.training.processes import Processes


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """Faces without landmarks beside the annotated ones, see `datasets.unlabelled`.

    Attributes:
        split: its landmarks are the teachers' predictions; answers: the recorded teachers' predictions on it.
        weight, mix_weight: weights of the distilling terms on these faces and of the error on mixtures.
        mix_alpha: parameter of the Beta distribution of the mixtures.
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
    chosen = Augmentation().scaled(options.augment_strength) if options.augment_strength else NO_AUGMENTATION
    own = {"shift": options.shift, "scale": options.scale, "turn": options.turn_head or None}
    own |= {} if options.mirror else {"flip": 0.0}
    return dataclasses.replace(chosen, **{name: value for name, value in own.items() if value is not None})


class TrainingFaces:
    """The training faces as batches, and the faces held out.

    Attributes:
        chosen, held: indices into the split.
        loader: training batches; validation: batches of the faces held out, None if there are none.
        mean_shape: (K, 2), mean of the targets.
    """

    def __init__(
        self,
        options: TrainingOptions,
        split: PreparedSplit,
        *,
        soft: bool,
        visibility: bool,
        answers: Mapping[str, Answers],
        unlabelled: Unlabelled | None,
        processes: Processes,
    ):
        self.chosen, self.held = holdout(split, options.validation, options.seed)
        self.size = options.size or split.size
        views = {answer.views for answer in answers.values()} or {0}
        if options.turn_head and split.scheme.shape != W300.shape:
            raise UserError(
                f"--turn-head moves the 68 points of 'w300'; this dataset has other targets: {split.scheme.noun}"
            )
        view = CropTransform(self.size, augmentation_of(options), soft, max(views), visibility=visibility)
        shared: dict[str, Any] = {"batch_size": options.batch_size, "shard": (processes.index, processes.count)}
        training: dict[str, Any] = {**shared, "workers": options.workers}
        order = FaceSampler(split, self.chosen, shuffled=True, seed=options.seed, extra_share=options.extra_share)
        faces = FaceLoader(order, view, answers=answers, **training)
        self.loader: FaceLoader | MixedLoader = faces
        if unlabelled:
            others = FaceSampler(unlabelled.split, shuffled=True, seed=options.seed)
            more = FaceLoader(others, dataclasses.replace(view, soft=False), answers=unlabelled.answers, **training)
            self.loader = MixedLoader(faces, more, unlabelled.mix_alpha if unlabelled.mixed else 0.0, options.seed)
        still = CropTransform(self.size, soft=soft, visibility=visibility)
        self.validation = (
            FaceLoader(FaceSampler(split, self.held), still, workers=1, **shared) if len(self.held) else None
        )
        if len(self.held):
            truth = np.asarray(still.targets_of(split)[self.held], np.float32)
            if not np.isfinite(np.asarray(split.scheme.training_error(truth, truth))).any():
                raise UserError(
                    f"none of the {len(self.held)} faces held out has the points that its error is normalised by: give "
                    "another --seed or --validation, or --validation 0"
                )
        self.mean_shape = np.nanmean(whole_rows(view.targets_of(split)[self.chosen]), axis=0)
