"""The options of the commands for recognition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.recognition.card import ARCHITECTURES, DYNAMIC, FEATURES, HEATMAPS
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError, choose
from kd_loss.system.trackers import TRACKERS, check_trackers

LOSSES = ("arcface", "cosface")
CLUSTERINGS = ("none", "kmeans", "sinkhorn")
#: methods of embeddings -> weights, whose published ones are relative to a term on landmarks: the margin loss is 10 to
#: 100 times as large
WEIGHTS = {"rkd": 100.0, "pkt": 10.0, "srrl": 10.0, "imitation": 1000.0}


def method_and_weight(text: str) -> tuple[str, float]:
    """The name and the weight of a method of `WEIGHTS`: of `pkt`, or `pkt:5`.

    Raises:
        UserError: there is no such method for embeddings, or the weight is no positive number.
    """
    name, colon, weight = text.partition(":")
    name = choose(name, WEIGHTS, "method for embeddings")
    try:
        value = float(weight) if colon else WEIGHTS[name]
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise UserError(f"--method {text}: the weight is a positive number, as in {name}:{WEIGHTS[name]:g}")
    return name, value


@dataclass(frozen=True)
class PersonsDatasetOptions(Options):
    """Options of commands that read a prepared dataset of persons."""

    dataset: str = option("persons", "prepared dataset of persons, see prepare-persons")
    data: Path = option(Path("data"), "folder of the prepared datasets")


@dataclass(frozen=True)
class RecogniserOptions(PersonsDatasetOptions):
    """Train a recognition network, alone, with a landmark network's maps (FAN-Face), or from a teacher."""

    arch: str = option("ir", "ir: an improved ResNet; mobile: a MobileFaceNet", choices=ARCHITECTURES, group="network")
    units: list[int] = option([2, 2, 2, 2], "units of the four stages of ir: 3 4 6 3 is a ResNet-34", within=(1, 100))
    alpha: float = option(0.25, "multiplier of the channels; 1 as published", within=(0.05, 2))
    embedding: int = option(128, "numbers of an embedding, an even number; 512 as published", within=(2, 4096))
    dropout: float = option(0.4, "dropout before the last layer of ir", within=(0, 1), below=1)
    heatmaps: str = option(
        "none", "h2: a landmark network's heatmaps stacked on the image; h2+: also before every stage",
        choices=HEATMAPS, group="landmarks",
    )  # fmt: skip
    features: str = option(
        "none", "its feature maps: bl (concatenated), sl (added), al (three convolutions), 1m (after all units)",
        choices=FEATURES,
    )  # fmt: skip
    landmarks: str = option("", "the landmark network (.h5, with heatmaps); default: the shipped student")
    other_maps: bool = option(False, "give each image the maps of another one: a control")
    dynamic: str = option(
        "none", "convolutions of the last three stages: dynamic, group (with two groups)", choices=DYNAMIC,
        group="dynamic convolutions",
    )  # fmt: skip
    temperature: float = option(4.0, "of the routing's softmax", above=0, below=1000)
    clustering: str = option("none", "pseudo-labels for the routing: kmeans or sinkhorn", choices=CLUSTERINGS)
    clusters: int = option(30, "number of pseudo-labels", within=(2, 10**5))
    cluster_weight: float = option(1.0, "λ, weight of their term", within=(0, 1000))
    loss: str = option("arcface", "margin loss", choices=LOSSES, group="objective")
    scale: float = option(64.0, "s, scale of the cosines; about 32 for few persons", above=0, below=1000)
    margin: float = option(0.0, "m, the margin; 0: 0.5 of arcface, 0.35 of cosface", within=(0, 1.5))
    ramp: float = option(0.2, "share of the training over which the margin grows from 0", within=(0, 1))
    teacher: str = option("", "teacher of a student: a recogniser's run folder or weights, .onnx, or file.py:function")
    method: list[str] = option(
        ["pkt"], "with --teacher: rkd, pkt, srrl, imitation, each name or name:weight (of the registry)"
    )
    epochs: int = option(30, "passes over the images", above=0, below=1e6, group="training")
    batch_size: int = option(64, "images per step", above=1, below=1e6)
    learning_rate: float = option(
        2e-3, "largest learning rate of Adam: linear warm-up, then cosine decay", above=0, below=1e6
    )
    validation: float = option(
        0.1, "share of the persons, two at least, held out to choose the best epoch; 0: keep the last", within=(0, 0.9)
    )
    patience: int = option(
        0, "stop after this many epochs without improvement; 0: never", within=(0, math.inf), below=1e6
    )
    init: str = option("", "initial weights, of a recogniser of the same structure")
    seed: int = option(0, "random seed of weights, order and changes", within=(0, 2**32 - 1))
    runs: Path = option(Path("runs"), "folder of the runs; these go to its subfolder of the dataset's name")
    name: str = option("", "name of the run; default: a free one")
    log_to: list[str] = option(
        [], "also log to Weights & Biases or MLflow, whose packages are extras of this one", choices=TRACKERS
    )
    resume: bool = option(False, "continue the run of that name where it stopped")

    def check(self) -> None:
        """Raise a `UserError` for options that exclude each other, or a tracker that is not installed."""
        check_trackers(self.log_to)
        if len(self.units) != 4:
            raise UserError(f"--units gives {len(self.units)} numbers; there are four stages, e.g. 2 2 2 2")
        if self.embedding % 2:
            raise UserError(f"--embedding {self.embedding} is odd")
        methods = [method_and_weight(text)[0] for text in self.method]
        if "srrl" in methods and len(methods) > 1:
            raise UserError("srrl compares cosines to centres, the other methods embeddings: give --method srrl alone")
        integrated = (self.heatmaps, self.features) != ("none", "none")
        if self.arch == "mobile" and (integrated or self.dynamic != "none"):
            raise UserError("--arch mobile takes no --heatmaps, --features or --dynamic: give --arch ir")
        if (self.landmarks or self.other_maps) and not integrated:
            raise UserError("no landmark network's maps are used: give --heatmaps h2 or --features bl")
        if self.clustering != "none" and self.dynamic == "none":
            raise UserError("--clustering is of dynamic convolutions' routing: give --dynamic dynamic or group")
        if self.teacher and (integrated or self.dynamic != "none"):
            raise UserError("a student of --teacher takes neither maps nor dynamic convolutions")
        if self.patience and not self.validation:
            raise UserError("--patience waits for a better epoch on persons held out: give a --validation above 0")


def check_width(options: RecogniserOptions, width: int) -> None:
    """Raise a `UserError` unless the teacher's embeddings of `width` numbers are as wide as the student's."""
    if width != options.embedding:
        raise UserError(
            f"{options.teacher} gives {width} numbers, the student {options.embedding}: give --embedding {width}"
        )


@dataclass(frozen=True)
class VerifyOptions(PersonsDatasetOptions):
    """Verify pairs of a prepared dataset: accuracy over folds, ROC, TAR at FAR, identification, a report."""

    weights: str = option(
        "",
        "a recogniser's run folder or weights, an export, another's .onnx, or file.py:function",
        positional=True,
    )
    clusters: int = option(
        0,
        "also cluster embeddings and routing into so many, beside pose and the like; 0: no",
        within=(0, 10**5),
    )
    output: str = option(
        "",
        "folder for the results; default: verify-<dataset> in the run, or with its own name beside a file or function",
    )

    def check(self) -> None:
        """Raise a `UserError` if there is nothing to verify with."""
        if not self.weights:
            raise UserError("give the weights of a recogniser: kd-loss verify runs/persons/recogniser")


@dataclass(frozen=True)
class EmbedOptions(Options):
    """Embeddings of the largest face of each image, as .npy or CSV; compare two by their product, their cosine."""

    pictures: list[str] = option([], "images, and folders of them", positional=True)
    weights: str = option("", "a recogniser's run folder or weights, an export, another's .onnx, or file.py:function")
    output: str = option("embeddings.npy", "file to write: .npy (N, D), with the names in a .txt beside it, or .csv")
    landmarks: str = option("", "network of the 68 landmarks that aligns the crops; default: the shipped student")
    align: bool = option(
        True, "align crops by five points, for a network that does not say; others: as they were trained"
    )
    size: int = option(112, "side of the crops of a function, which takes any", within=(16, 1024))
    mirror: bool = option(True, "add the mirror image's embedding")
    skip_bad: bool = option(
        False, "leave out images that do not decode, or with no face, or two of like size, instead of stopping"
    )

    def check(self) -> None:
        """Raise a `UserError` for missing images or weights, or another suffix."""
        if not self.pictures:
            raise UserError("give images or folders: kd-loss embed album --weights runs/persons/recogniser")
        if not self.weights:
            raise UserError("give --weights, e.g. --weights runs/persons/recogniser")
        if Path(self.output).suffix not in (".npy", ".csv"):
            raise UserError(f"--output {self.output} ends in neither .npy nor .csv")


@dataclass(frozen=True)
class RecogniserExportOptions(Options):
    """A recogniser for other runtimes, compared with itself on drawn faces."""

    weights: str = option("", "a recogniser's run folder or weights", positional=True)
    format: list[str] = option(["litert", "onnx"], "litert (.tflite), onnx", choices=("litert", "onnx"))
    precision: str = option("fp32", "precision of the weights", choices=("fp32", "fp16"))
    output: str = option("", "folder of the files; default: export beside the weights")

    def check(self) -> None:
        """Raise a `UserError` if there is nothing to export."""
        if not self.weights:
            raise UserError("give the weights of a recogniser: kd-loss export-recogniser runs/persons/recogniser")
