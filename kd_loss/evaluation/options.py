"""The options of the commands `test`, `compare`, `draw-loss` and `methods`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option
from kd_loss.datasets.prepared import open_dataset
from kd_loss.errors import UserError
from kd_loss.training.options import DistillationOptions


@dataclass(frozen=True)
class EvaluationOptions:
    """Test networks on a prepared dataset: NME, FR, AUC per subset, CED, pictures, report.html."""

    weights: list[str] = option([], "weights (.h5 with a card) to test; the first one's pictures are drawn")
    dataset: str = option("w300", "prepared dataset")
    split: str = option("test", "test or train", choices=("test", "train"))
    beside: bool = option(True, "test the dataset's newest teachers and students alone and distilled beside it")
    teacher: str = option("", "a network to whose landmarks the mean distance (AKD) of the others is told")
    mirror: bool = option(False, "test the weights with the mean about each face and its mirror image first")
    finder: bool = option(False, "test the weights also as predict uses them: crops by the package's own finder")
    source: str = option("", "with --finder: folder of the photographs, as prepare had it, to look for faces in; the "
        "stored crops with their border if left out")  # fmt: skip
    worst: int = option(20, "how many of the worst faces to draw", within=(1, math.inf))
    batch_size: int = option(32, "faces per step", within=(1, math.inf))
    output: str = option("", "folder of the results; the weights' run folder if left out")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    runs: Path = option(Path("runs"), "folder of the runs")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what no test can begin with."""
        if not self.weights:
            raise UserError("give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5")
        open_dataset(self.dataset, self.data)
        if self.source and not self.finder:
            raise UserError("--source is for --finder, which looks for the faces in those photographs")
        if self.source and not Path(self.source).is_dir():
            raise UserError(f"no such folder: {self.source}; give --source the folder that prepare had")


@dataclass(frozen=True)
class CurvesOptions:
    """Draw the terms of KD-Loss and their sum against the student's error, for both variants."""

    tough: float = option(0.02, "error of the tough teacher, in normalised units", within=(0, math.inf))
    tolerant: float = option(0.04, "error of the tolerant teacher", within=(0, math.inf))
    output: Path = option(Path("kd_loss.png"), "the picture to write")
    config: str = option("", "JSON or TOML file with options; those of the command line win")


@dataclass(frozen=True)
class CompareOptions(DistillationOptions):
    """Train a student by each method with the same seeds, epochs and data, and compare them on the test faces."""

    methods: list[str] = option(
        ["none", "kd_loss"], "methods, with settings of their own in parentheses: 'kd(imitation=0.5)'; a combination "
        "as kd_loss+srrl:0.1; stages, one after the other, as 'aht(alpha=0)=20/ail=20@P5'", group="methods",
    )  # fmt: skip
    seeds: int = option(3, "students per method; their seeds count up from --seed", within=(1, 1000))


@dataclass(frozen=True)
class MethodsOptions:
    """List the methods: objective, teachers, taps, parameters with their defaults, source."""

    names: list[str] = option([], "methods to list; all if left out", positional=True)
    plugin: list[str] = option([], "Python files with methods of your own")
    markdown: bool = option(False, "print the table as Markdown")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
