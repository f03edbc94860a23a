"""The options of the command `train-finder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option


@dataclass(frozen=True)
class FinderOptions:
    """Train the face finder on pictures composed of annotated faces and of photographs of anything."""

    faces: list[str] = option([], "folders of faces with the 68 landmarks of 300W: its archive, or pictures with a CSV")
    cfp: str = option("", "folder of CFP: faces with 30 landmarks, 500 persons, profiles")
    backgrounds: str = option("", "folder of photographs of anything; faces in them are those that BlazeFace sees")
    blazeface: list[str] = option([], "BlazeFace's files (.tflite): label the faces that nobody annotated")
    drawn: int = option(300, "number of drawn faces")
    size: int = option(192, "side of the composed pictures in pixels, a multiple of 32")
    input_size: int = option(256, "side of the finder's input in pixels, a multiple of 32")
    batch_size: int = option(32, "pictures per batch")
    steps: int = option(3000, "batches in all")
    learning_rate: float = option(3e-3, "the highest; it rises for 5 % of the batches and falls as a cosine")
    seed: int = option(0, "of every random number")
    name: str = option("finder", "of the folder of the results in runs/finder")
    runs: Path = option(Path("runs"), "folder of runs")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
