"""The command `export-keypoints`: a detector as a file of LiteRT or ONNX Runtime, or as a web page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_loss.export import convert
from kd_loss.export.web import write_keypoint_page
from kd_loss.networks.keypoint_detector import load_detector
from kd_loss.runtimes.files import SUFFIXES, open_runtime
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file
from kd_loss.system.terminal import quiet_stderr

FORMATS = dict(zip(("onnx", "litert"), SUFFIXES, strict=True))
#: drawn faces on which a file is compared with its network
FACES = 16
#: the largest mean difference of a keypoint that is accepted, in units of the −1…1 grid
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}


@dataclass(frozen=True)
class KeypointExportOptions(Options):
    """A keypoint detector for other runtimes, compared with itself on drawn faces."""

    weights: str = option("", "detector (.h5)", positional=True)
    format: list[str] = option(
        ["litert", "onnx"], "litert (.tflite), onnx, web (a page for browsers)", choices=(*FORMATS, "web")
    )
    precision: str = option("fp32", "of the weights", choices=tuple(TOLERANCE))
    web_runtime: str = option("", "web: folder or .tgz of the npm package onnxruntime-web; fetched by npm if left out")
    output: str = option("", "folder of the files; export beside the weights if left out")

    def check(self) -> None:
        """Refuse a missing file."""
        if not self.weights:
            raise UserError("give the weights of a detector: kd-loss export-keypoints runs/keypoints/detector/best.h5")


def run_export_keypoints(options: KeypointExportOptions) -> dict[Path, float]:
    """Write the files; file -> mean difference of its keypoints. They take RGB 0…255 (B, S, S, 3), LiteRT's one at a
    time, and give keypoints (B, K, 2) and Jacobians (B, K, 2, 2). A page is a folder, and not among them.

    Raises:
        UserError: a file's keypoints differ by more than the tolerance; it is not left behind.
    """
    convert.require_tensorflow()
    weights = Path(options.weights)
    detector = load_detector(weights)
    card = detector.card
    faces = np.stack([draw_face(card.size, 0, i) for i in range(FACES)]).astype(np.float32)
    wanted = detector.find(faces)
    folder = Path(options.output) if options.output else weights.parent / "export"
    written = {}
    for name in options.format:
        if name == "web":
            page = folder / f"{weights.stem}-web"
            with convert.needed(name):
                write_keypoint_page(detector, page, options.web_runtime, options.precision)
            print(f"{page}: a page; look at it: python -m http.server -d {page}, http://localhost:8000")
            continue
        path = folder / f"{weights.stem}-{options.precision}{FORMATS[name]}"
        with atomic_file(path, FORMATS[name]) as temporary, quiet_stderr():
            to_file = convert.to_litert if name == "litert" else convert.to_onnx
            with convert.needed(name):
                to_file(detector, temporary, options.precision, None)
            found = by_shape(open_runtime(temporary)(faces), card.points)[0]
            mean = float(np.linalg.norm(found - wanted, axis=-1).mean())
            if not mean <= TOLERANCE[options.precision]:
                raise UserError(
                    f"refused and not written: the keypoints of {path.name} differ by {mean:.4f} in the mean"
                )
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, keypoints differ by {mean:.6f} of the −1…1 grid")
        written[path] = mean
    return written


def by_shape(outputs: dict[str, np.ndarray], points: int) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (B, K, 2) and Jacobians (B, K, 2, 2) among a runtime's outputs, whose names it chooses itself."""
    shaped = {value.shape[1:]: value for value in outputs.values()}
    return shaped[points, 2], shaped[points, 2, 2]
