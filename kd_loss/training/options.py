"""The options of the training commands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kd_loss.datasets.prepared import open_dataset
from kd_loss.schemes.base import Scheme
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.errors import UserError
from kd_loss.system.trackers import TRACKERS, check_trackers

#: the heads of this package, for help without importing Keras; `networks.HEADS` has all of them
HEADS = ("heatmap", "pooled", "simcc", "pip")
CUTS = ("P3", "P4", "P5")
#: the methods of this package, for help without importing Keras; `distillation.METHODS` has all of them
METHOD_NAMES = (
    *("none", "kd_loss", "kd", "pseudo", "heatmap", "likelihood", "auxiliary", "min", "imitation", "bound", "pil"),
    *("ail", "aht", "fitnet", "attention", "srrl", "rkd", "pkt", "keypoints"),
)
#: for the help of `--arch`: a complete list would be too long
ARCHITECTURES = (
    "efficientNetB0…B7, efficientNetLite0…2, any network of keras.applications (MobileNetV3Small, ResNet50, …), "
    "kerashub:PRESET, or one of --plugin; docs/training.md lists them"
)
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainingOptions(DatasetOptions):
    """The options shared by teachers and students."""

    dataset: str = option("w300", "prepared dataset: w300, cofw, wflw, synthetic or your own", group="data")
    extra_share: float | None = option(
        None,
        "share of each epoch from other archives (prepare --extra-data); default: all their faces",
        within=(0, 1),
        below=1,
    )
    validation: float = option(
        0.05,
        "share of the training photographs held out to choose the best epoch; 0: keep the last",
        within=(0, 1),
        below=1,
    )
    size: int | None = option(
        None,
        "side of the network's input in pixels; default: that of the prepared crops",
        within=(32, 1024),
        group="network",
    )
    head: str = option(
        "",
        "heatmap: a map per landmark and a soft-argmax; pooled: as in the paper; simcc: coordinates as classes; pip: "
        "offsets in a coarse grid; or one of --plugin; default: heatmap for landmarks, pooled for poses",
        choices=HEADS,
        more=True,
    )
    output_stride: str = option(
        "", "last level of the backbone: P3, P4 or P5 (8, 16 or 32 times smaller than the input; P5: the whole); "
        "default: P5 for a pooled head, P4 for others", choices=CUTS, also="--cut",
    )  # fmt: skip
    plugin: list[str] = option([], "Python files with your own methods, heads and architectures")
    alpha: float = option(1.0, "width multiplier, for architectures that have one", within=(0.1, 2))
    dropout: float | None = option(
        None, "rate before the head; default: 0.5 for EfficientNet, 0 for MobileNetV2", within=(0, 1), below=1
    )
    pretrained: str = option(
        "none",
        "pretrained weights of the backbone; preset: those of a KerasHub preset",
        choices=("none", "imagenet", "noisy-student", "preset"),
    )
    init: str = option(
        "", "initial weights, also of another size, head, output stride or dataset: what the two have in common is "
        "loaded; teacher: those of a student's tough teacher",
    )  # fmt: skip
    epochs: int = option(150, "passes over the training faces", above=0, below=1e9, group="training")
    batch_size: int = option(32, "faces per step", above=0, below=1e9)
    learning_rate: float = option(
        1e-3, "largest learning rate of Adam: linear warm-up, then cosine decay", above=0, below=1e9
    )
    patience: int = option(
        0,
        "stop after this many epochs without improvement on the held-out faces; 0: never",
        within=(0, math.inf),
        below=1e6,
    )
    seed: int = option(0, "random seed of weights, order and augmentation", within=(0, 2**32 - 1))
    augment_strength: float = option(
        1.0, "strength of rotation, scale, shift, colour, blur and patches; 0: no augmentation, not even mirroring",
        within=(0, 3), also="--augment",
    )  # fmt: skip
    shift: float | None = option(
        None, "largest shift of the crop, as a share of its side, e.g. 0.12 for crops from a detector's boxes; "
        "default: 6 % times --augment-strength", within=(0, 0.5)
    )  # fmt: skip
    scale: float | None = option(
        None, "largest relative change of the crop's scale; default: 12 % times --augment-strength", within=(0, 0.5)
    )
    mirror: bool = option(
        True, "mirror half of the training images; --no-mirror for objects that have a left and a right"
    )
    turn_head: float = option(
        0.0, "largest angle in degrees by which a generic head turns a face of 68 points further; 10 to 20 look right",
        within=(0, 45)
    )  # fmt: skip
    workers: int = option(2, "threads that make batches", within=(1, 256))
    precision: str = option(
        "float32", "arithmetic precision; mixed precision pays off on some devices", choices=PRECISIONS
    )
    devices: str = option(
        "one",
        "devices to use; all: every one of this machine (JAX backend)",
        choices=("one", "all"),
        group="several devices and machines",
    )
    distributed: str = option("", "host:port of the first process, or auto under Slurm and MPI (JAX backend)")
    process: int = option(0, "with --distributed: the index of this process", within=(0, 1e6))
    processes: int = option(1, "with --distributed: the number of processes", within=(1, 1e6))
    runs: Path = option(Path("runs"), "folder of the runs", group="run")
    name: str = option("", "name of the run; default: a free one")
    log_to: list[str] = option(
        [], "also log to Weights & Biases or MLflow, whose packages are extras of this one", choices=TRACKERS
    )
    resume: bool = option(False, "continue the run of that name where it stopped")

    def check(self) -> None:
        """Raises a `UserError` for a dataset that is not prepared, or a tracker that is not installed."""
        check_trackers(self.log_to)
        open_dataset(self.dataset, self.data)


@dataclass(frozen=True)
class TeacherOptions(TrainingOptions):
    """Train the teachers of a dataset: tough on the landmarks, tolerant on the soft landmarks."""

    role: str = option(
        "both", "teacher to train; both: one after the other", also="--teacher",
        choices=("tough", "tolerant", "both"), group="teachers",
    )  # fmt: skip
    arch: str = option("efficientNet", f"backbone; efficientNet is B3; also {ARCHITECTURES}", group="network")
    loss: str = option("l1", "regression loss; mse: as in the reference code", choices=("l1", "mse"), group="training")


@dataclass(frozen=True)
class DistillationOptions(TrainingOptions):
    """The options shared by students and comparisons of students."""

    arch: str = option("mobileNetV2", f"backbone of the student; also {ARCHITECTURES}", group="network")
    method_arg: list[str] = option(
        [], "parameters of the methods, e.g. kd_loss.variant=code srrl.beta=0.5", also="--set", group="methods"
    )
    tough: str = option("", "weights of the tough teacher; default: found automatically", group="teachers")
    tolerant: str = option("", "weights of the tolerant teacher; default: found automatically")
    teacher: list[str] = option(
        [], "teachers of methods that take any: name=weights[:weight], a .h5, .onnx, .tflite, .pt, .pt2 or "
        "file.py:function; several joined by + are one teacher",
    )  # fmt: skip
    map_points: bool = option(
        False, "read teachers of another scheme through a linear map, fitted on the training faces"
    )
    teacher_mode: str = option(
        "auto",
        "live: called in every step; cached: called once; auto: live only for features",
        choices=("auto", "live", "cached"),
        also="--teachers",
    )
    teacher_views: int = option(
        0, "cached teachers see this many fixed augmentations of each face; 0: the face itself", within=(0, 1e6)
    )
    teacher_mirror: bool = option(False, "average each teacher's predictions on the face and its mirror image")
    cache_limit: float = option(4.0, "largest size of one teacher's cached predictions, in GB", above=0)
    unlabelled: str = option(
        "",
        "folder of photographs without landmarks, labelled by the teachers' predictions",
        group="faces without landmarks",
    )
    unlabelled_weight: float = option(
        1.0, "weight of the distilling terms on unlabelled faces", within=(0, math.inf), below=1e6
    )
    mix_weight: float = option(
        1.0,
        "weight of the error on mixtures of annotated and unlabelled faces; 0: none",
        within=(0, math.inf),
        below=1e6,
    )
    mix_alpha: float = option(
        0.75, "parameter of the Beta distribution of the mixtures; 0: no mixtures", within=(0, math.inf), below=1e6
    )
    visibility: bool = option(
        False,
        "a second output: how likely each landmark is visible, learnt from the archive's labels and drawn occluders",
        group="visible points",
    )
    visibility_weight: float = option(
        0.02, "weight of its cross-entropy beside the other terms", within=(0, math.inf), below=1e6
    )
    freeze: str = option(
        "",
        "freeze everything up to this tap, with the weights of --init: P2…P5, embedding or landmarks",
        group="network",
    )


@dataclass(frozen=True)
class StudentOptions(DistillationOptions):
    """Train a student: distilled from the dataset's two teachers or from any others, or alone."""

    method: list[str] = option(
        ["kd_loss"], f"{', '.join(METHOD_NAMES)} (see kd-loss methods), or one of --plugin; several with weights, "
        "kd_loss:1 srrl:0.1; @ names its teachers: srrl@tough:0.1; 'srrl(beta=0.5)' is --method-arg srrl.beta=0.5",
        group="methods",
    )  # fmt: skip
    stages: list[str] = option(
        [],
        "successive trainings, instead of --method and --epochs: methods=epochs[@frozen tap], e.g. aht=20 ail=30@P5",
    )


T = TypeVar("T", bound=TrainingOptions)


def with_head(options: T, scheme: Scheme) -> T:
    """The options with the default head filled in: heatmaps require points in a plane."""
    return options if options.head else replace(options, head="heatmap" if scheme.shape[1] == 2 else "pooled")


def checked(options: T) -> T:
    """The options of a training; raises a `UserError` for contradictory ones."""
    if options.patience and not options.validation:
        raise UserError("--patience needs a validation set: give a --validation above 0")
    return options
