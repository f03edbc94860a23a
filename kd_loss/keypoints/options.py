"""The options of the commands about keypoints that nobody annotated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option
from kd_loss.errors import UserError, choose

LOSSES = ("L1", "L2", "L3")


@dataclass(frozen=True)
class KeypointOptions:
    """Train a keypoint detector without annotation, on clips of any object (First-Order Motion Model)."""

    data: str = option("", "clips: a folder of frames each, or frames named person_<clip><frame>.jpg; synthetic: drawn")
    points: int = option(10, "keypoints")
    arch: str = option("hourglass", "hourglass, squeezeUNet or any other architecture")
    width: float = option(1.0, "multiplier of the detector's channels")
    stride: int = option(1, "of the heads' convolutions: 1 as published, 2 for a quarter of their cost")
    size: int = option(64, "side of the pictures in pixels, a multiple of 64")
    crop: float = option(1.0, "central share of a frame's shorter side that is used")
    features: str = option("", "a student (.h5) whose feature maps compare pictures beside their pixels")
    separation: float = option(0.0, "weight of a term that keeps keypoints apart; the published training has none")
    epochs: int = option(30, "passes over the clips, a pair of frames of each")
    batch_size: int = option(16, "pairs per step")
    learning_rate: float = option(1e-3, "largest learning rate of Adam: linear warm-up, then cosine decay")
    validation: float = option(0.1, "share of the persons held out to choose the best epoch; 0: the last")
    seed: int = option(0, "of weights, order and warps")
    runs: Path = option(Path("runs"), "folder of the runs; these go to its folder keypoints")
    name: str = option("", "name of the run; a free one if left out")
    resume: bool = option(False, "continue the run of that name where it stopped")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what cannot be meant."""
        check_training(self)
        if not 2 <= self.points <= 100:
            raise UserError(f"--points {self.points} is not between 2 and 100")
        if not 0 <= self.separation < 1e6:
            raise UserError(f"--separation {self.separation} is negative or not finite")
        if not 0.1 <= self.crop <= 1:
            raise UserError(f"--crop {self.crop} is not in 0.1…1")
        if self.size % 64 or not 64 <= self.size <= 512:
            raise UserError(f"--size {self.size} is not a multiple of 64 up to 512")


def check_training(options: KeypointOptions | KeypointDistillationOptions) -> None:
    """Refuse numbers of a training that cannot be meant, and a missing folder."""
    if not options.data:
        raise UserError("give --data FOLDER with clips")
    for name in ("epochs", "batch_size", "learning_rate"):
        if not 0 < getattr(options, name) < 1e6:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} is not a sensible positive number")
    if not 0.05 <= options.width <= 2:
        raise UserError(f"--width {options.width} is not between 0.05 and 2")
    if options.stride not in (1, 2):
        raise UserError(f"--stride {options.stride} is neither 1 nor 2")
    if not 0 <= options.validation < 1:
        raise UserError(f"--validation {options.validation} is not in 0…1")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed} is not in 0…2³²")


@dataclass(frozen=True)
class KeypointTestOptions:
    """Judge detectors by the annotated landmarks that a linear map reads from their keypoints."""

    weights: list[str] = option([], "detectors (.h5)", positional=True)
    teacher: str = option("", "a detector to whose keypoints the distance (AKD) is told")
    dataset: str = option("w300", "prepared dataset with annotated faces")
    context: float = option(1.0, "the crop in units of the prepared one; its border has to reach that far")
    jitter: float = option(0.0, "largest shift of a crop, as a share of its side")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what cannot be meant."""
        if not self.weights:
            raise UserError("give the weights of a detector: kd-loss test-keypoints runs/keypoints/detector/best.h5")
        if not 0.5 <= self.context <= 4 or not 0 <= self.jitter <= 0.5:
            raise UserError("--context has to be in 0.5…4 and --jitter in 0…0.5")


@dataclass(frozen=True)
class KeypointDistillationOptions:
    """Train a small detector on the answers of a large one, on pictures that nobody annotated."""

    teacher: str = option("", "the detector (.h5) to learn from")
    data: str = option("", "folder of pictures, e.g. the clips that the teacher was trained on; synthetic: drawn")
    arch: str = option("mobileNetV2", "mobileNetV2, squeezeUNet, hourglass or any other architecture")
    width: float = option(1.0, "multiplier of its channels")
    stride: int = option(1, "of the heads' convolutions: 1 as published, 2 for a quarter of their cost")
    loss: str = option("L1", "L1: keypoints and Jacobians; L2: heatmaps as well; L3: the encoders' attention as well")
    letter: bool = option(False, "the terms of L2 and L3 as written: a mean over cells, attention of any length")
    power: float = option(2.0, "of the features in the attention")
    init: str = option("", "weights to start from, of landmarks or keypoints: all but the heads")
    epochs: int = option(30, "passes over the pictures")
    batch_size: int = option(32, "pictures per step")
    learning_rate: float = option(1e-3, "largest learning rate of Adam: linear warm-up, then cosine decay")
    validation: float = option(0.1, "share of the persons held out to choose the best epoch; 0: the last")
    seed: int = option(0, "of weights, order and warps")
    runs: Path = option(Path("runs"), "folder of the runs; these go to its folder keypoints")
    name: str = option("", "name of the run; a free one if left out")
    resume: bool = option(False, "continue the run of that name where it stopped")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what cannot be meant."""
        if not self.teacher:
            raise UserError("give --teacher FILE, a detector of kd-loss train-keypoints")
        choose(self.loss, LOSSES, "loss")
        check_training(self)
