"""The options of the command `predict`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.detection.choice import DETECTORS
from kd_loss.system.configuration import option


@dataclass(frozen=True)
class PredictOptions:
    """Find faces and their landmarks in pictures and videos."""

    sources: list[str] = option(
        [], "pictures, videos, folders with any in them, the index of a camera, or - for a picture on standard input",
        positional=True,
    )  # fmt: skip
    weights: str = option("", ".h5, .keras, .onnx or .tflite; models/students/student_w300.h5 if left out")
    detector: str = option(
        "finder",
        "finder (shipped), haar (comes with OpenCV), yunet, blazeface, or none: a picture is one cropped face",
        choices=DETECTORS,
        group="faces",
    )
    detector_model: str = option("", "the detector's file; yunet and blazeface need theirs, and say where it is from")
    min_score: float | None = option(None, "leave out faces with a smaller score; the detector's own if left out")
    smallest: float = option(
        0.0,
        "finder: side in pixels of the smallest faces to look for, in tiles; 0: a 25th of the picture, half "
        "of that where faces are small",
        within=(0, math.inf),
    )
    box: str = option("", "x,y,width,height of the landmarks of one face, in place of a detector")
    refine: int = option(
        1, "how often a face that was found is cropped again from the landmarks found in it", within=(0, 10)
    )
    mirror: bool = option(
        False,
        "answer with the mean about a face and its mirror image: a little better, with a confidence, twice the time",
    )
    smooth: float = option(
        0.0,
        "one-euro filter with this cutoff in Hz for a face at rest, e.g. 1; 0: none",
        group="videos and cameras",
        within=(0, math.inf),
        below=1e3,
    )
    every: int = option(
        10, "the detector looks at every so many frames; faces are followed in between", within=(1, math.inf)
    )
    frames: int = option(0, "stop after so many frames; 0: at the end, or with Ctrl-C", within=(0, math.inf))
    video_pts: bool = option(False, "a .pts for each face of each frame too")
    show: bool = option(False, "show the frames in a window; q closes it")
    draw_pose: bool = option(False, "draw the axes of the head", group="results")
    output: Path = option(Path("predictions"), "folder of the results")
    batch_size: int = option(32, "cropped faces per batch", within=(1, math.inf))
    config: str = option("", "JSON or TOML file with options; those of the command line win")
