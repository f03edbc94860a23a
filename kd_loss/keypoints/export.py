"""The command `export-keypoints`: writes a detector as a LiteRT or ONNX file, or as a web page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_loss.export import convert
from kd_loss.export.files import SUFFIX, Exporter
from kd_loss.networks.keypoint_detector import load_detector
from kd_loss.runtimes.files import open_runtime
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.overwrite_guard import Claims

#: number of drawn faces for the comparison of a file with its network
FACES = 16
#: largest accepted mean difference of a keypoint, in units of the −1…1 grid
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}


@dataclass(frozen=True)
class KeypointExportOptions(Options):
    """A keypoint detector for other runtimes, compared with itself on drawn faces."""

    weights: str = option("", "detector (.h5)", positional=True)
    format: list[str] = option(
        ["litert", "onnx"], "litert (.tflite), onnx, web (a page for browsers)", choices=(*SUFFIX, "web")
    )
    precision: str = option("fp32", "precision of the weights", choices=tuple(TOLERANCE))
    web_runtime: str = option("", "web: folder or .tgz of the npm package onnxruntime-web; default: fetched by npm")
    output: str = option("", "folder of the files; default: export beside the weights")

    def check(self) -> None:
        """Raises a `UserError` for a missing file."""
        if not self.weights:
            raise UserError("give the weights of a detector: kd-loss export-keypoints runs/keypoints/detector/best.h5")


def run_export_keypoints(options: KeypointExportOptions) -> dict[Path, float]:
    """Write the files; returns file -> mean difference of its keypoints. Files take RGB 0…255 (B, S, S, 3), LiteRT's
    with B = 1, and return keypoints (B, K, 2) and Jacobians (B, K, 2, 2). A page is a folder, and not in the result.

    Raises:
        UserError: a file's keypoints differ by more than the tolerance; it is deleted, the others are kept.
    """
    convert.require_tensorflow()
    weights = Path(options.weights)
    detector = load_detector(weights)
    card = detector.card
    faces = np.stack([draw_face(card.size, 0, i) for i in range(FACES)]).astype(np.float32)
    wanted = detector.find(faces)
    folder = Path(options.output) if options.output else weights.parent / "export"

    def difference(found: np.ndarray) -> tuple[float, float]:
        distance = np.linalg.norm(found - wanted, axis=-1)
        return float(distance.max()), float(distance.mean())

    exporter = Exporter(
        detector,
        weights,
        folder,
        faces,
        run=lambda path: by_shape(open_runtime(path)(faces), card.points)[0],
        difference=difference,
        unit="of the −1…1 grid",
        tolerance=TOLERANCE,
        web_runtime=options.web_runtime,
    )
    exported, refused = exporter.write(options.format, [options.precision], Claims(folder))
    for file in exported:
        size = file.path.stat().st_size / 1e6
        print(f"{file.path}: {size:.2f} MB, keypoints differ by {file.mean:.6f} of the −1…1 grid")
    if refused:
        raise UserError(f"not written, keypoints differ too much: {'; '.join(refused)}")
    return {file.path: file.mean for file in exported if file.format != "web"}


def by_shape(outputs: dict[str, np.ndarray], points: int) -> tuple[np.ndarray, np.ndarray]:
    """Picks keypoints (B, K, 2) and Jacobians (B, K, 2, 2) from a runtime's outputs, whose names it chooses itself."""
    shaped = {value.shape[1:]: value for value in outputs.values()}
    return shaped[points, 2], shaped[points, 2, 2]
