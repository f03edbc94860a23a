"""The command `benchmark`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset, prepared_names
from kd_loss.evaluation.report import print_table
from kd_loss.export.parity import Faces, test_faces
from kd_loss.networks.card import Card
from kd_loss.runtimes.crop_network import read_card
from kd_loss.speed.options import BenchmarkOptions
from kd_loss.speed.peers import measure_peer, parse_peer
from kd_loss.speed.plot import plane_plot
from kd_loss.system.configuration import check_values
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, write_json
from kd_loss.system.ownership import check_free, claim
from kd_loss.training.prediction import check_fit

RUNTIMES = {".h5": "Keras", ".keras": "Keras", ".onnx": "ONNX Runtime", ".tflite": "LiteRT"}


def run_benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measure, print the table, write `benchmark.json` and `benchmark.png`; returns what is in the JSON."""
    options = check_values(options)
    if options.training:
        from kd_loss.speed.training import run_training_benchmark

        return run_training_benchmark(
            size=options.size, batch_size=options.batch_size, faces=options.faces, rounds=options.rounds,
            reference=options.reference, output=options.output,
        )  # fmt: skip
    options.check()
    paths = [Path(text) for text in options.weights]
    cards = {path: _card(path) for path in paths}
    dataset = _dataset(options, cards[paths[0]])
    if options.peer and (dataset is None or not options.source):
        raise UserError("peers need the prepared dataset and --source, the folder of its photographs")
    for peer in options.peer:
        parse_peer(peer)
    if dataset is not None:
        for path, card in cards.items():
            check_fit(card, dataset, path)
    files = ["benchmark.json", "benchmark.png"]
    check_free(options.output, files)
    rows = _measure(paths, cards, dataset, options)
    peers = [measure_peer(peer, dataset, Path(options.source)) for peer in options.peer] if dataset else []
    _print(rows, peers, dataset)
    results = {"dataset": dataset.folder.name if dataset else None, "networks": rows, "peers": peers}
    claim(options.output, files)
    write_json(options.output / "benchmark.json", results)
    print(options.output / "benchmark.json")
    if dataset is not None:
        with atomic_file(options.output / "benchmark.png") as temporary:
            temporary.write_bytes(plane_plot(rows, peers, dataset.spec.metric_words))
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
        print(f"no prepared dataset {name} in {options.data}: measured on drawn faces, without NME")
        return None
    return open_dataset(name, options.data)


def _measure(
    paths: list[Path], cards: dict[Path, Card], dataset: PreparedDataset | None, options: BenchmarkOptions
) -> list[dict[str, Any]]:
    """A row per network and number of threads; in each round all of them take turns."""
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
        for turn in range(options.rounds):
            for path in paths:
                for threads in options.threads:
                    card = cards[path]
                    row = run_worker(path, threads, folder / f"{card.size}.npy", options.seconds)
                    predicted = row.pop("predicted")
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
                        "nme": faces[card.size].nme(predicted),
                    }
            print(f"round {turn + 1} of {options.rounds}")
    return list(rows.values())


def run_worker(path: Path, threads: int, crops: Path, seconds: float) -> dict[str, Any]:
    """The figures of one network in a process of its own, with its predictions."""
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
              "memory, MB", "file, MB", dataset.spec.metric_words if dataset else "NME in %"]  # fmt: skip
    cells = [
        [
            row["name"], str(row["size"]), str(row["threads"]), f"{row['load_s']:.2f}",
            f"{row['p50_ms']:.2f}", f"{row['p95_ms']:.2f}", f"{row['predictor_ms']:.2f}",
            f"{row['faces_per_s']:.0f}", f"{row['memory_mb']:.0f}", f"{row['bytes'] / 1e6:.2f}",
            "–" if row["nme"] is None else f"{row['nme']:.2f}",
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
