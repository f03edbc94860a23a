"""The options of the command `benchmark`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import option
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class BenchmarkOptions:
    """Measure networks on this machine: time, memory, size, NME; or, with --training, the speed of training."""

    weights: list[str] = option([], "networks: .h5, .keras, .onnx, .tflite", positional=True)
    threads: list[int] = option([1, 2], "numbers of threads to measure with", within=(1, 1024))
    seconds: float = option(2.0, "how long each figure is measured, per round", above=0, below=1e3)
    rounds: int = option(3, "how often all networks take turns; the best round of each counts", within=(1, math.inf))
    peer: list[str] = option(
        [],
        "from photograph to landmarks in a Python of its own: mediapipe=/path/to/bin/python, dlib=…, kd_loss=… (this "
        "package itself), or python:script.py",
        group="peers and errors",
    )
    source: str = option("", "folder of the dataset's archive, whose photographs they are given")
    dataset: str = option("", "prepared dataset for the NME; the first card's if left out")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    training: bool = option(
        False, "measure training instead: recorded and live teachers, bare fit, reference way", group="training"
    )
    size: int = option(224, "side of the input in pixels", within=(32, 1024))
    batch_size: int = option(16, "faces per step", within=(1, math.inf))
    faces: int = option(96, "faces per epoch", within=(1, math.inf))
    reference: str = option("", "file with the reference way; benchmarks/reference.py of the checkout if left out")
    output: Path = option(Path("benchmark"), "folder of the results: benchmark.json, benchmark.png", group="results")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what nothing can be measured of."""
        if not self.weights and not self.training:
            raise UserError("give networks, e.g. kd-loss benchmark student.h5 student.tflite; or --training")
        if not self.training and not self.threads:
            raise UserError("give --threads, e.g. --threads 1 2")
