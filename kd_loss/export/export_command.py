"""The command `export`."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset, prepared_names
from kd_loss.distillation.plugins import load_plugins
from kd_loss.evaluation.report import print_table
from kd_loss.export import convert
from kd_loss.export.files import FORMATS, Exported, Exporter
from kd_loss.export.verification import Faces, calibration_crops, difference, test_faces
from kd_loss.inference.weights import EXPORTED_FROM
from kd_loss.networks import LandmarkNet, load_network
from kd_loss.runtimes.crop_network import CropNetwork, open_network
from kd_loss.schemes.base import Scheme
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256, write_json
from kd_loss.system.overwrite_guard import Claims

log = logging.getLogger(__name__)


def run_export(options: ExportOptions) -> list[dict[str, Any]]:
    """Write the exports and `export.json`, print their table; returns its rows.

    Raises:
        UserError: an export differs by more than the tolerance; it is deleted, the others are kept.
    """
    options.check()
    convert.require_tensorflow()
    load_plugins(options.plugin)
    weights = weights_path(options.weights)
    network = _named(load_network(weights), weights, options.license)
    dataset = _dataset(network, options)
    faces = test_faces(network.card, dataset)
    beside = weights.parent if weights == Path(options.weights) else Path()  # not among the shipped ones
    folder = Path(options.output) if options.output else beside / "export"
    calibration = calibration_crops(network.card, dataset, options.calibration) if dataset else None
    if "int8" in options.precision:
        convert.required(calibration)
    scheme, size = network.card.scheme(), network.card.size
    claims = Claims(folder, ["export.json"])
    reference = _predict(CropNetwork.of(network), faces.crops)
    exporter = Exporter(
        network,
        weights,
        folder,
        faces.crops,
        run=lambda path: _predict(open_network(path), faces.crops),
        difference=lambda predicted: difference(scheme, reference, predicted, size),
        unit=scheme.apart_unit,
        tolerance=dict.fromkeys(TOLERANCE, options.tolerance) if options.tolerance else TOLERANCE,
        calibration=calibration,
        web_runtime=options.web_runtime,
    )
    exported, refused = exporter.write(options.format, options.precision, claims)
    itself = Exported(weights.name, "keras", "fp32", weights, reference, 0.0, 0.0)
    rows = [_row(file, faces, scheme) for file in (itself, *exported)]
    _report(rows, faces, folder, scheme, claims)
    if refused:
        raise UserError(f"not written, {scheme.predicted} differ too much: {'; '.join(refused)}")
    return rows


def _named(network: LandmarkNet, weights: Path, terms: str) -> LandmarkNet:
    """The network with a card that records its source file: `predict` uses only an export of exactly that file.

    `terms` replaces the card's licence unless it is empty.
    """
    training = {**network.card.training, EXPORTED_FROM: sha256(weights)}
    card = dataclasses.replace(network.card, training=training, license=terms or network.card.license)
    return dataclasses.replace(network, card=card)


def _dataset(network: LandmarkNet, options: ExportOptions) -> PreparedDataset | None:
    name = options.dataset or network.card.dataset
    if not options.dataset and name not in prepared_names(options.data):
        log.info(f"no prepared dataset {name} in {options.data}: compared on drawn faces, without NME")
        return None
    return open_dataset(name, options.data)


def _predict(network: CropNetwork, crops: np.ndarray) -> np.ndarray:
    return np.concatenate([network.run(crops[i : i + 32]) for i in range(0, len(crops), 32)])


def _row(file: Exported, faces: Faces, scheme: Scheme) -> dict[str, Any]:
    files = [p for p in file.path.rglob("*") if p.is_file()] if file.path.is_dir() else [file.path]
    return {
        "name": file.name,
        "format": file.format,
        "precision": file.precision,
        "bytes": sum(p.stat().st_size for p in files),
        "max": file.largest,
        "mean": file.mean,
        scheme.metric: faces.error(file.predicted),
    }


def _report(rows: list[dict[str, Any]], faces: Faces, folder: Path, scheme: Scheme, claims: Claims) -> None:
    unit, error = scheme.apart_unit, scheme.metric_words
    header = ["file", "format", "precision", "MB", f"largest difference, {unit}", f"mean, {unit}", error]
    cells = [
        [
            row["name"],
            row["format"],
            row["precision"],
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['max']:.3f}",
            f"{row['mean']:.4f}",
            "–" if row[scheme.metric] is None else f"{row[scheme.metric]:.3f}",
        ]
        for row in rows
    ]
    where = "drawn faces" if faces.split is None else f"the test faces of {faces.split.scheme.name}"
    what, words = ("Landmarks", "px of the input") if unit == "px" else ("Poses", "degrees")
    title = f"{what} of {rows[0]['name']} and of its exports on {where} ({len(faces.crops)}), {words}"
    print_table(title, header, cells, turned=False, width=115)
    write_json(folder / "export.json", {"faces": len(faces.crops), "on": where, "files": rows}, claims)


#: largest accepted mean difference of a landmark, in pixels of the input
TOLERANCE = {"fp32": 0.01, "fp16": 0.1, "int8": 1.0}


@dataclass(frozen=True)
class ExportOptions(DatasetOptions):
    """Write a student for other runtimes, run each file on the test faces, reject files that differ."""

    weights: str = option("", "weights (.h5), with their card beside them", positional=True)
    format: list[str] = option(
        ["litert"], "litert (.tflite), onnx, saved_model, web (a page for browsers)", choices=FORMATS
    )
    precision: list[str] = option(
        ["fp32"], "fp32, fp16, int8 (weights and activations, calibrated)", choices=tuple(TOLERANCE)
    )
    calibration: int = option(200, "int8: number of training crops for calibration", within=(1, math.inf))
    tolerance: float = option(
        0.0,
        "largest accepted mean difference of a landmark, in pixels of the input; 0: 0.01 for fp32, "
        "0.1 for fp16, 1 for int8",
        within=(0, math.inf),
    )
    license: str = option("", "terms of the weights, written into every file, e.g. 'CC BY-NC 4.0'; default: the card's")
    web_runtime: str = option("", "web: folder or .tgz of the npm package onnxruntime-web; default: fetched by npm")
    dataset: str = option("", "prepared dataset for calibration and testing; default: the card's")
    plugin: list[str] = option([], "Python files that define the network's architecture and its custom layers")
    output: str = option(
        "", "folder of the exports; default: export/ beside the weights, or here for a shipped student"
    )

    def check(self) -> None:
        """Raises a `UserError` if there is nothing to export."""
        if not self.weights:
            raise UserError("give the weights, e.g. kd-loss export runs/w300/student-kd_loss/best.h5")
