"""The options of `python -m tools.finder`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import Options, option


@dataclass(frozen=True)
class FinderOptions(Options):
    """Train the face finder on images composed of annotated faces and of photographs of anything."""

    faces: list[str] = option([], "folders of faces with the 68 landmarks of 300W: its archive, or images with a CSV")
    cfp: str = option("", "folder of CFP: faces with 30 landmarks, 500 persons, profiles")
    aflw: str = option("", "folder of AFLW: faces with 21 points, turned by up to 90 degrees and more")
    unlabelled: list[str] = option([], "folders of photographs without annotation; every second one is kept apart")
    backgrounds: str = option("", "folder of photographs of anything; faces in them are those that BlazeFace sees")
    blazeface: list[str] = option([], "BlazeFace's files (.tflite): label the faces that nobody annotated")
    start: str = option("", "a finder's file (.onnx) whose weights the training begins with")
    drawn: int = option(300, "number of drawn faces", within=(0, math.inf))
    size: int = option(192, "side of the composed images in pixels, a multiple of 32", within=(64, 1024))
    input_size: int = option(256, "side of the finder's input in pixels, a multiple of 32", within=(64, 1024))
    batch_size: int = option(32, "images per batch", within=(1, math.inf))
    steps: int = option(3000, "batches in all", within=(20, math.inf))
    minutes: float = option(
        0, "end after so many instead: the learning rate follows the clock; 0: --steps", within=(0, 10_000)
    )
    learning_rate: float = option(3e-3, "the highest; it rises for 5 % of the batches and falls as a cosine", above=0)
    seed: int = option(0, "of every random number", within=(0, 2**32 - 1))
    name: str = option("finder", "of the folder of the results in runs/finder")
    runs: Path = option(Path("runs"), "folder of runs")
    resume: bool = option(False, "go on with the run of this name")
