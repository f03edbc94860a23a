"""The options of the commands for unsupervised keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import DatasetOptions, Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.trackers import TRACKERS, check_trackers

#: `distillation.keypoints.LOSSES`, for help without importing Keras
LOSSES = ("L1", "L2", "L3")


@dataclass(frozen=True)
class DetectorTrainingOptions(Options):
    """The options shared by trainings of detectors and of their students."""

    clips: str = option(
        "", "clips: a folder of frames each, or frames named person_<clip><frame>.jpg; for students any folder of "
        "images; synthetic: drawn",
        also="--data",
    )  # fmt: skip
    arch: str = option("hourglass", "hourglass, squeezeUNet, mobileNetV2 or any other architecture")
    alpha: float = option(1.0, "width multiplier: of the detector's channels", within=(0.1, 2), also="--width")
    stride: int = option(
        1, "stride of the heads' convolutions: 1 as published, 2 for a quarter of their cost", within=(1, 2)
    )
    epochs: int = option(30, "passes over the clips, a pair of frames of each, or over the images", above=0, below=1e6)
    batch_size: int = option(16, "pairs or images per step", above=0, below=1e6)
    learning_rate: float = option(
        1e-3, "largest learning rate of Adam: linear warm-up, then cosine decay", above=0, below=1e6
    )
    validation: float = option(
        0.1, "share of the persons held out to choose the best epoch; 0: keep the last", within=(0, 1), below=1
    )
    patience: int = option(
        0, "stop after this many epochs without improvement; 0: never", within=(0, math.inf), below=1e6
    )
    seed: int = option(0, "random seed of weights, order and warps", within=(0, 2**32 - 1))
    runs: Path = option(Path("runs"), "folder of the runs; these go to its subfolder keypoints")
    name: str = option("", "name of the run; default: a free one")
    log_to: list[str] = option(
        [], "also log to Weights & Biases or MLflow, whose packages are extras of this one", choices=TRACKERS
    )
    resume: bool = option(False, "continue the run of that name where it stopped")

    def check(self) -> None:
        """Raises a `UserError` for a missing folder, or for patience without validation."""
        check_trackers(self.log_to)
        if not self.clips:
            raise UserError("give --clips FOLDER")
        if self.patience and not self.validation:
            raise UserError("--patience needs a validation set: give a --validation above 0")


@dataclass(frozen=True)
class KeypointOptions(DetectorTrainingOptions):
    """Train a keypoint detector without annotation, on clips of any object (First-Order Motion Model)."""

    points: int = option(10, "number of keypoints", within=(2, 100))
    size: int = option(64, "side of the images in pixels, a multiple of 64", within=(64, 512))
    crop: float = option(1.0, "central share of a frame's shorter side that is used", within=(0.1, 1))
    warp: float = option(1.0, "size of the random warps, in units of the published one", within=(0, 10), above=0)
    features: str = option("", "student (.h5) whose feature maps compare images, in addition to their pixels")
    separation: float = option(
        0.0, "weight of a term that keeps keypoints apart; the published training has none", within=(0, math.inf),
        below=1e6,
    )  # fmt: skip

    def check(self) -> None:
        """Raises a `UserError` for a missing folder or a size that cannot be halved often enough."""
        super().check()
        if self.size % 64:
            raise UserError(f"--size {self.size} is not a multiple of 64")


@dataclass(frozen=True)
class KeypointTestOptions(DatasetOptions):
    """Evaluate detectors by the annotated landmarks that a linear map predicts from their keypoints."""

    weights: list[str] = option([], "detectors (.h5)", positional=True)
    reference: str = option("", "detector for the distance of keypoints (AKD)", also="--teacher")
    dataset: str = option("w300", "prepared dataset with annotated faces")
    context: float = option(
        1.0, "size of the crop in units of the prepared one; the stored border must cover it", within=(0.5, 4)
    )
    jitter: float = option(0.0, "largest shift of a crop, as a share of its side", within=(0, 0.5))

    def check(self) -> None:
        """Raises a `UserError` if there is nothing to evaluate."""
        if not self.weights:
            raise UserError("give the weights of a detector: kd-loss test-keypoints runs/keypoints/detector/best.h5")


@dataclass(frozen=True)
class KeypointDistillationOptions(DetectorTrainingOptions):
    """Train a small detector on the predictions of a large one, on unannotated images."""

    teacher: str = option("", "detector (.h5) to distil")
    arch: str = option("mobileNetV2", "mobileNetV2, squeezeUNet, hourglass or any other architecture")
    batch_size: int = option(32, "images per step", above=0, below=1e6)
    loss: str = option(
        "L1", "L1: keypoints and Jacobians; L2: heatmaps as well; L3: the encoders' attention as well", choices=LOSSES
    )
    as_published: bool = option(
        False, "terms of L2 and L3 as written: mean over cells, attention of any length", also="--letter"
    )
    power: float = option(2.0, "power of the features in the attention", above=0, below=100)
    init: str = option("", "initial weights, of a landmark or keypoint network: all but the heads")

    def check(self) -> None:
        """Raises a `UserError` for a missing teacher or folder."""
        if not self.teacher:
            raise UserError("give --teacher FILE, a detector of kd-loss train-keypoints")
        super().check()
