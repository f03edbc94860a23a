"""The options of the command `export`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import option
from kd_loss.system.errors import UserError

FORMATS = ("litert", "onnx", "saved_model", "web")
#: the largest mean difference of a landmark that is accepted, in pixels of the input
TOLERANCE = {"fp32": 0.01, "fp16": 0.1, "int8": 1.0}


@dataclass(frozen=True)
class ExportOptions:
    """Write a student for other runtimes, run each file again on the test faces, refuse what differs."""

    weights: str = option("", "weights (.h5) with their card beside them", positional=True)
    format: list[str] = option(
        ["litert"], "litert (.tflite), onnx, saved_model, web (a page for browsers)", choices=FORMATS
    )
    precision: list[str] = option(
        ["fp32"], "fp32, fp16, int8 (weights and activations, calibrated)", choices=tuple(TOLERANCE)
    )
    calibration: int = option(200, "int8: how many training crops to calibrate on", within=(1, math.inf))
    tolerance: float = option(
        0.0,
        "largest mean difference of a landmark, in pixels of the input, that is accepted; 0: 0.01 for fp32, "
        "0.1 for fp16, 1 for int8",
        within=(0, math.inf),
    )
    web_runtime: str = option("", "web: folder or .tgz of the npm package onnxruntime-web; fetched by npm if left out")
    dataset: str = option("", "prepared dataset to calibrate and test on; the card's if left out")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    output: str = option("", "folder of the exports; export/ beside the weights if left out")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what nothing can be exported of."""
        if not self.weights:
            raise UserError("give the weights, e.g. kd-loss export runs/w300/student-kd_loss/best.h5")
