"""The options of the training commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option


@dataclass(frozen=True)
class TrainingOptions:
    """What teachers and students have in common."""

    dataset: str = option("w300", "prepared dataset: w300, cofw, wflw, synthetic or your own")
    epochs: int = option(150, "passes over the training faces")
    batch_size: int = option(32, "faces per step")
    learning_rate: float = option(1e-3, "largest learning rate of Adam: linear warm-up, then cosine decay")
    seed: int = option(0, "of weights, order and augmentation")
    size: int | None = option(None, "side of the network's input in pixels; that of the prepared crops if left out")
    alpha: float = option(1.0, "width multiplier, for architectures that have one")
    pretrained: str = option("none", "none, imagenet or noisy-student")
    dropout: float | None = option(None, "before the head; 0.5 for EfficientNet and 0 for MobileNetV2 if left out")
    validation: float = option(0.05, "share of the training photographs held out to choose the best epoch; 0: the last")
    augment: float = option(
        1.0, "strength of rotation, scale, shift, colour, blur and patches; 0: none, not even mirroring"
    )
    init: str = option("", "weights to start from, e.g. of another size or dataset; a head of another size is left out")
    workers: int = option(2, "threads that make batches")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    runs: Path = option(Path("runs"), "folder of the runs")
    name: str = option("", "name of the run; a free one if left out")
    resume: bool = option(False, "continue the run of that name where it stopped")
    config: str = option("", "JSON or TOML file with options; those of the command line win")


@dataclass(frozen=True)
class TeacherOptions(TrainingOptions):
    """Train the teachers of a dataset: tough on the landmarks, tolerant on the soft landmarks."""

    teacher: str = option("both", "tough, tolerant, or both, one after the other")
    arch: str = option("efficientNet", "backbone; efficientNet is B3; also efficientNetB0…B7, mobileNetV2")
    loss: str = option("l1", "l1, or mse as in the reference code")


@dataclass(frozen=True)
class CompareOptions(TrainingOptions):
    """Train a student by each method with the same seeds, epochs and data, and compare them on the test faces."""

    methods: list[str] = option(["none", "kd_loss"], "methods; a combination as kd_loss+srrl:0.1")
    seeds: int = option(3, "students per method; their seeds count up from --seed")
    arch: str = option("mobileNetV2", "backbone of the students")
    set: list[str] = option([], "parameters of the methods, e.g. kd_loss.variant=paper")
    teacher: list[str] = option([], "teachers of methods that take any: name=weights.h5[:weight], repeated")
    tough: str = option("", "weights of the tough teacher; found by itself if left out")
    tolerant: str = option("", "weights of the tolerant teacher; found by itself if left out")


@dataclass(frozen=True)
class StudentOptions(TrainingOptions):
    """Train a student: distilled from the dataset's two teachers, or alone."""

    arch: str = option("mobileNetV2", "backbone: mobileNetV2 or any of the teachers'")
    method: list[str] = option(["kd_loss"], "none, kd_loss or another; several with weights: kd_loss:1 srrl:0.1")
    set: list[str] = option([], "parameters of the methods, e.g. kd_loss.variant=paper srrl.beta=0.5")
    teacher: list[str] = option([], "teachers of methods that take any: name=weights.h5[:weight], repeated")
    tough: str = option("", "weights of the tough teacher; found by itself if left out")
    tolerant: str = option("", "weights of the tolerant teacher; found by itself if left out")
