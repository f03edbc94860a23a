"""The command `benchmark`."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset, prepared_names
from kd_loss.evaluation.plots import new_axes, to_png
from kd_loss.evaluation.prediction import check_fit
from kd_loss.evaluation.report import print_table
from kd_loss.export.verification import Faces, test_faces
from kd_loss.networks.card import Card
from kd_loss.runtimes.crop_network import read_card
from kd_loss.schemes.base import Scheme
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, write_json
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.terminal import counted, duration

log = logging.getLogger(__name__)
RUNTIMES = {".h5": "Keras", ".keras": "Keras", ".onnx": "ONNX Runtime", ".tflite": "LiteRT"}


def run_benchmark(
    options: BenchmarkOptions, measure_peers: Callable[[PreparedDataset], list[dict[str, Any]]] | None = None
) -> dict[str, Any]:
    """Measure, print the table, write `benchmark.json` and `benchmark.png`; returns the content of the JSON.

    Args:
        options: networks to measure, and how.
        measure_peers: returns a row for each detector from outside this package (`tools.speed.peers`).
    """
    options.check()
    paths = [weights_path(text) for text in options.weights]
    cards = {path: _card(path) for path in paths}
    dataset = _dataset(options, cards[paths[0]])
    if measure_peers and dataset is None:
        raise UserError("peers need the prepared dataset: give --dataset and --data")
    if dataset is not None:
        for path, card in cards.items():
            check_fit(card, dataset, path)
    files = ["benchmark.json", "benchmark.png"]
    claims = Claims(options.output, files)
    rows = _measure(paths, cards, dataset, options)
    peers = measure_peers(dataset) if measure_peers and dataset else []
    _print(rows, peers, dataset)
    results = {"dataset": dataset.folder.name if dataset else None, "networks": rows, "peers": peers}
    write_json(options.output / "benchmark.json", results, claims)
    print(options.output / "benchmark.json")
    if dataset is not None:
        with atomic_file(options.output / "benchmark.png", claims=claims) as temporary:
            temporary.write_bytes(plane_plot(rows, peers, dataset.scheme))
        print(options.output / "benchmark.png")
    return results


def _card(path: Path) -> Card:
    if path.suffix not in RUNTIMES:
        raise UserError(f"{path} is not a network: {', '.join(RUNTIMES)}")
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    return read_card(path)


def _dataset(options: BenchmarkOptions, card: Card) -> PreparedDataset | None:
    name = options.dataset or card.dataset
    if not options.dataset and name not in prepared_names(options.data):
        log.info(f"no prepared dataset {name} in {options.data}: measured on drawn faces, without NME")
        return None
    return open_dataset(name, options.data)


def _measure(
    paths: list[Path], cards: dict[Path, Card], dataset: PreparedDataset | None, options: BenchmarkOptions
) -> list[dict[str, Any]]:
    """A row per network and number of threads; all of them take turns in each round."""
    rows: dict[tuple[Path, int], dict[str, Any]] = {}
    once = Counter(path.name for path in paths)
    names = {path: path.name if once[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in paths}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        faces: dict[int, Faces] = {}
        for card in cards.values():
            if card.size not in faces:
                faces[card.size] = test_faces(card, dataset)
                np.save(folder / f"{card.size}.npy", faces[card.size].crops)
        runs = options.rounds * len(paths) * len(options.threads)
        log.info(
            f"{counted(runs, 'measurement')} of three figures: at least {duration(runs * 3 * options.seconds)}, "
            "and the start of a process for each"
        )
        for turn in range(options.rounds):
            for path in paths:
                for threads in options.threads:
                    card = cards[path]
                    row = run_worker(path, threads, folder / f"{card.size}.npy", options.seconds)
                    predicted = row.pop("predicted")
                    log.info(
                        f"round {turn + 1} of {options.rounds}: {names[path]}, {counted(threads, 'thread')}: "
                        f"{row['p50_ms']:.2f} ms"
                    )
                    best = rows.get((path, threads))
                    if best is not None and best["p50_ms"] <= row["p50_ms"]:
                        continue
                    rows[path, threads] = {
                        "name": names[path],
                        "path": str(path),
                        "runtime": RUNTIMES[path.suffix],
                        "arch": card.arch,
                        "alpha": card.alpha,
                        "size": card.size,
                        "threads": threads,
                        "bytes": path.stat().st_size,
                        **row,
                        card.scheme().metric: faces[card.size].error(predicted),
                    }
    return list(rows.values())


def run_worker(path: Path, threads: int, crops: Path, seconds: float) -> dict[str, Any]:
    """The figures of one network, measured in a separate process, with its predictions."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "predicted.npy")
        command = [sys.executable, "-m", "kd_loss.speed.worker", str(path), str(threads), str(crops), str(output)]
        done = subprocess.run([*command, str(seconds)], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1][:160]
            raise UserError(f"{path} could not be measured: {reason.partition('UserError: ')[2] or reason}")
        return {**json.loads(done.stdout.splitlines()[-1]), "predicted": np.load(output)}


def _print(rows: list[dict[str, Any]], peers: list[dict[str, Any]], dataset: PreparedDataset | None) -> None:
    header = ["network", "px", "threads", "load, s", "p50, ms", "p95, ms", "predictor, ms", "faces/s",
              "memory, MB", "file, MB", dataset.scheme.metric_words if dataset else "NME in %"]  # fmt: skip
    cells = [
        [
            row["name"], str(row["size"]), str(row["threads"]), f"{row['load_s']:.2f}",
            f"{row['p50_ms']:.2f}", f"{row['p95_ms']:.2f}", f"{row['predictor_ms']:.2f}",
            f"{row['faces_per_s']:.0f}", f"{row['memory_mb']:.0f}", f"{row['bytes'] / 1e6:.2f}",
            "–" if dataset is None else f"{row[dataset.scheme.metric]:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    for peer in peers:
        found = f"{peer['name']}, finds {100 * peer['found']:.0f} %"
        nme = f"{peer['nme']:.2f}"
        cells.append([found, "–", "–", "–", f"{peer['p50_ms']:.2f}", f"{peer['p95_ms']:.2f}", *["–"] * 4, nme])
    where = f"the test faces of {dataset.folder.name}" if dataset else "drawn faces"
    title = f"One face at a time on {where}; predictor: with the crop; peers: with their own detection"
    print_table(title, header, cells, turned=False, width=135)


@dataclass(frozen=True)
class BenchmarkOptions(DatasetOptions):
    """Measure networks on this machine: time, memory, size, NME."""

    weights: list[str] = option([], "networks: .h5, .keras, .onnx, .tflite", positional=True)
    threads: list[int] = option([1, 2], "thread counts to measure", within=(1, 1024))
    seconds: float = option(2.0, "measuring time of each figure, per round", above=0, below=1e3)
    rounds: int = option(3, "number of rounds over all networks; the best of each counts", within=(1, math.inf))
    dataset: str = option("", "prepared dataset for the NME; default: the first card's")
    output: Path = option(Path("benchmark"), "folder of the results: benchmark.json, benchmark.png")

    def check(self) -> None:
        """Raises a `UserError` if there is nothing to measure."""
        if not self.weights:
            raise UserError("give networks, e.g. kd-loss benchmark student.h5 student.tflite")
        if not self.threads:
            raise UserError("give --threads, e.g. --threads 1 2")


def plane_plot(rows: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]], scheme: Scheme) -> bytes:
    """A PNG: the scheme's error over the median time of one face, at the fastest number of threads of each."""
    figure, axes = new_axes(7.5, 4.5)
    fastest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["path"] not in fastest or row["p50_ms"] < fastest[row["path"]]["p50_ms"]:
            fastest[row["path"]] = row
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        chosen = [row for row in fastest.values() if row["runtime"] == runtime]
        axes.scatter([row["p50_ms"] for row in chosen], [row[scheme.metric] for row in chosen], label=runtime, s=40)
        for row in chosen:
            text = f"{row['name'].rpartition('.')[0]}, {row['size']} px"
            place = {"xytext": (2, 5), "textcoords": "offset points", "rotation": 55, "rotation_mode": "anchor"}
            axes.annotate(text, (row["p50_ms"], row[scheme.metric]), fontsize=6, **place)
    for peer in peers:
        axes.scatter([peer["p50_ms"]], [peer["nme"]], marker="*", s=120, label=f"{peer['name']}, with detection")
    axes.set(xlabel="median milliseconds a face", ylabel=scheme.metric_words, xscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.35 * (high - low))  # room for the names above the points
    axes.legend(framealpha=0.8, fontsize=8)
    return to_png(figure)
