"""The options of the command `demo`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import option


@dataclass(frozen=True)
class DemoOptions:
    """Prepare, teachers, students, test and predict on drawn faces; writes runs/demo/report.html."""

    faces: int = option(1200, "training faces to draw; a quarter more for testing", within=(4, math.inf))
    size: int = option(64, "side of the pictures in pixels", within=(32, 1024))
    epochs: int = option(30, "epochs of each teacher", within=(1, math.inf))
    student_epochs: int = option(20, "epochs of each student", within=(1, math.inf))
    arch: str = option("mobileNetV2", "architecture of teachers and students")
    alpha: float = option(0.35, "their width multiplier", within=(0.1, 2))
    seed: int = option(0, "of drawing and training", within=(0, 2**32 - 1))
    output: Path = option(Path("runs/demo"), "folder of the demo; its earlier contents are replaced")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
