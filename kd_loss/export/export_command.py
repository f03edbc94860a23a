"""The command `export`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset, prepared_names
from kd_loss.distillation.plugins import load_plugins
from kd_loss.evaluation.report import print_table
from kd_loss.export import convert
from kd_loss.export.parity import Faces, calibration_crops, difference, test_faces
from kd_loss.inference.weights import EXPORTED_FROM
from kd_loss.networks import Card, LandmarkNet, load_network
from kd_loss.runtimes.crop_network import CropNetwork, open_network
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, atomic_folder, sha256, write_json
from kd_loss.system.ownership import Claims, check_replaceable
from kd_loss.system.terminal import quiet_stderr

SUFFIX = {"litert": ".tflite", "onnx": ".onnx"}


def run_export(options: ExportOptions) -> list[dict[str, Any]]:
    """Write the exports and `export.json`, print their table; returns its rows.

    Raises:
        UserError: an export differs by more than the tolerance; it is not left behind, the others are.
    """
    options.check()
    formats, precisions = options.format, options.precision
    convert.require_tensorflow()
    load_plugins(options.plugin)
    weights = Path(options.weights)
    network = _named(load_network(weights), weights)
    dataset = _dataset(network, options)
    faces = test_faces(network.card, dataset)
    folder = Path(options.output) if options.output else weights.parent / "export"
    calibration = calibration_crops(network.card, dataset, options.calibration) if dataset else None
    if "int8" in precisions:
        convert.required(calibration)
    claims = _check_targets(folder, weights, formats, precisions)  # from here on something is written
    reference = _predict(CropNetwork.of(network), faces.crops)
    rows = [_row(weights.name, "keras", "fp32", weights, reference, reference, faces, network.card)]
    refused: list[str] = []
    for kind in formats:
        if kind == "web":
            from kd_loss.export.web import write_page

            page = folder / _name(weights, "web", "")
            limit = options.tolerance or TOLERANCE[precisions[0]]

            def run_again(path: Path, limit: float = limit) -> np.ndarray:
                predicted = _predict(open_network(path), faces.crops)
                _check(predicted, network.card, reference, limit)
                return predicted

            try:
                with convert.needed("web"):
                    predicted = write_page(network, page, options.web_runtime, precisions[0], calibration, run_again)
            except _Refused as error:
                refused.append(f"{page.name} ({error})")
                continue
            name, model = f"{page.name}/model.onnx", page / "model.onnx"
            rows.append(_row(name, kind, precisions[0], model, predicted, reference, faces, network.card))
            print(f"{page}: a page; look at it: python -m http.server -d {page}, http://localhost:8000")
            continue
        for precision in precisions:
            if kind == "saved_model" and precision != "fp32":
                print(f"saved_model is a float32 format; {precision} is left out")
                continue
            path = folder / _name(weights, kind, precision)
            start = time.perf_counter()
            limit = options.tolerance or TOLERANCE[precision]
            check = partial(_check, card=network.card, reference=reference, limit=limit)
            try:
                predicted = _write(network, kind, precision, path, calibration, faces, check, claims)
            except _Refused as error:
                refused.append(f"{path.name} ({error})")
                continue
            print(f"{path}: {time.perf_counter() - start:.0f} s")
            rows.append(_row(path.name, kind, precision, path, predicted, reference, faces, network.card))
    _report(rows, faces, folder, network.card, claims)
    if refused:
        what = network.card.scheme().predicted
        raise UserError(f"refused and not written, {what} differ too much: {'; '.join(refused)}")
    return rows


def _name(weights: Path, kind: str, precision: str) -> str:
    return f"{weights.stem}-web" if kind == "web" else f"{weights.stem}-{precision}{SUFFIX.get(kind, '')}"


def _check_targets(folder: Path, weights: Path, formats: list[str], precisions: list[str]) -> Claims:
    """Refuse to replace files and folders that an export did not write, before the first is converted."""
    for kind in set(formats) & {"saved_model", "web"}:
        check_replaceable(folder / _name(weights, kind, "fp32"))
    files = [_name(weights, kind, precision) for kind in formats if kind in SUFFIX for precision in precisions]
    return Claims(folder, ["export.json", *files])


def _named(network: LandmarkNet, weights: Path) -> LandmarkNet:
    """The network with a card that says which file it is from: `predict` takes the export of exactly that file."""
    training = {**network.card.training, EXPORTED_FROM: sha256(weights)}
    return dataclasses.replace(network, card=dataclasses.replace(network.card, training=training))


class _Refused(Exception):
    """An export differs from its network by more than the tolerance."""


def _check(predicted: np.ndarray, card: Card, reference: np.ndarray, limit: float) -> None:
    _, mean = difference(card.scheme(), reference, predicted, card.size)
    if not mean <= limit:
        raise _Refused(f"mean {mean:.3f} {card.scheme().apart_unit}, allowed {limit:g}")


def _dataset(network: LandmarkNet, options: ExportOptions) -> PreparedDataset | None:
    name = options.dataset or network.card.dataset
    if not options.dataset and name not in prepared_names(options.data):
        print(f"no prepared dataset {name} in {options.data}: compared on drawn faces, without NME")
        return None
    return open_dataset(name, options.data)


def _predict(network: CropNetwork, crops: np.ndarray) -> np.ndarray:
    return np.concatenate([network.run(crops[i : i + 32]) for i in range(0, len(crops), 32)])


def _write(
    network: LandmarkNet,
    kind: str,
    precision: str,
    path: Path,
    calibration: np.ndarray | None,
    faces: Faces,
    check: Callable[[np.ndarray], None],
    claims: Claims,
) -> np.ndarray:
    """Convert, run again on the faces, check, and only then give the file its name; the predictions (N, K, 2)."""
    if kind == "saved_model":
        with atomic_folder(path) as temporary:
            with quiet_stderr():
                convert.to_saved_model(network, temporary)
                predicted = _serve(temporary, faces.crops)
            check(predicted)
            write_json(temporary / "card.json", dataclasses.asdict(network.card))
        return predicted
    with atomic_file(path, SUFFIX[kind], claims) as temporary, quiet_stderr():
        with convert.needed(kind):
            to_file = convert.to_litert if kind == "litert" else convert.to_onnx
            to_file(network, temporary, precision, calibration)
        predicted = _predict(open_network(temporary), faces.crops)
        check(predicted)
        return predicted


def _serve(folder: Path, crops: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    module = tf.saved_model.load(str(folder))
    parts = [module.serve(crops[i : i + 32].astype(np.float32)) for i in range(0, len(crops), 32)]
    return np.concatenate([(part[0] if isinstance(part, list | tuple) else part).numpy() for part in parts])


def _row(
    name: str, kind: str, precision: str, path: Path, predicted: np.ndarray, reference: np.ndarray, faces: Faces,
    card: Card,
) -> dict[str, Any]:  # fmt: skip
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    largest, mean = difference(card.scheme(), reference, predicted, card.size)
    return {
        "name": name,
        "format": kind,
        "precision": precision,
        "bytes": sum(p.stat().st_size for p in files),
        "max": largest,
        "mean": mean,
        card.scheme().metric: faces.error(predicted),
    }


def _report(rows: list[dict[str, Any]], faces: Faces, folder: Path, card: Card, claims: Claims) -> None:
    scheme = card.scheme()
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
    where = "drawn faces" if faces.split is None else f"the test faces of {faces.split.spec.name}"
    what, words = ("Landmarks", "px of the input") if unit == "px" else ("Poses", "degrees")
    title = f"{what} of {rows[0]['name']} and of its exports on {where} ({len(faces.crops)}), {words}"
    print_table(title, header, cells, turned=False, width=115)
    write_json(folder / "export.json", {"faces": len(faces.crops), "on": where, "files": rows}, claims)


FORMATS = ("litert", "onnx", "saved_model", "web")
#: the largest mean difference of a landmark that is accepted, in pixels of the input
TOLERANCE = {"fp32": 0.01, "fp16": 0.1, "int8": 1.0}


@dataclass(frozen=True)
class ExportOptions(DatasetOptions):
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
    plugin: list[str] = option([], "Python files with the architecture of the network, whose layers are your own")
    output: str = option("", "folder of the exports; export/ beside the weights if left out")

    def check(self) -> None:
        """Refuse what nothing can be exported of."""
        if not self.weights:
            raise UserError("give the weights, e.g. kd-loss export runs/w300/student-kd_loss/best.h5")
