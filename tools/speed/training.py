"""The speed of training: `python -m tools.speed.training`.

Images a second of one student under one roof: its bare `fit`, distilled by recorded and by live teachers, and
the reference way. The ways take turns, so that a noisy machine disturbs all alike; ratios are of the medians.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from kd_loss.archives.synthetic import draw_archive
from kd_loss.cli import run_tool
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.evaluation.plots import bar_plot
from kd_loss.evaluation.report import print_table
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, write_json
from kd_loss.system.overwrite_guard import check_free, claim
from kd_loss.system.versions import package_versions
from tools.speed.scenarios import ALONE, BARE, BARE_FUSED, LIVE, RECORDED, REFERENCE, Clock, all_ways, load_reference

#: (ratio, way above, way below, the target)
RATIOS = (
    ("recorded teachers / bare fit", RECORDED, BARE, "≥ 0.95"),
    ("recorded teachers / bare fit, fused", RECORDED, BARE_FUSED, ""),
    ("recorded teachers / student alone", RECORDED, ALONE, ""),
    ("recorded teachers / reference way", RECORDED, REFERENCE, "≥ 2.7"),
    ("live teachers / reference way", LIVE, REFERENCE, "≥ 1.5"),
)
#: of the loader's measurement, in pixels: of the stored crops, and of what the loader makes of them
STORED, LOADED = 160, 112


def take_turns(ways: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, `rounds` times, after a first round for tracing that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def loader_rate(folder: Path, faces: int = 256, rounds: int = 5) -> float:
    """Augmented images per second of one core: the loader's work in one thread, 112 px from crops of 160 px.

    The clock is the thread's own processor time, so that what else runs on the machine counts little.
    """
    prepare(draw_archive("synthetic", faces, STORED, 0.15, 0), folder / "loader", size=STORED)
    split = open_dataset("loader", folder).split("train")
    order = FaceSampler(split, np.arange(faces), shuffled=True)
    loader = FaceLoader(order, CropTransform(LOADED, Augmentation()), batch_size=32)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    seconds = []
    try:
        for _ in range(rounds + 1):
            start = time.thread_time()
            for batch in range(len(loader)):
                loader[batch]
            seconds.append(time.thread_time() - start)
    finally:
        cv2.setNumThreads(threads)
    return len(loader) * loader.batch_size / float(np.median(seconds[1:]))


def measure_training(*, size: int, batch_size: int, faces: int, rounds: int, reference: Path | None) -> dict[str, Any]:
    """Measure all ways of training and the loader.

    Args:
        size: side of the images in pixels; batch_size: faces in a step; faces: in an epoch of each way.
        rounds: epochs of each way that count.
        reference: the file of the reference way; None leaves it out.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("training is measured under TensorFlow: unset KERAS_BACKEND")
    if batch_size < 1 or faces < batch_size or rounds < 1:
        raise UserError(f"{faces} faces in batches of {batch_size}, {rounds} times: at least one batch, once")
    clock = Clock()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        way = load_reference(reference) if reference else None
        loaded = loader_rate(folder)
        archive = draw_archive("synthetic", faces, size, 0.15, 0)
        prepare(archive, folder / "synthetic", size=size)
        split = open_dataset("synthetic", folder).split("train")
        (folder / "files").mkdir()
        times = take_turns(all_ways(split, size, batch_size, way, folder / "files", clock), rounds)
    steps = faces // batch_size
    rates = {name: steps * batch_size / float(np.median(seconds)) for name, seconds in times.items()}
    return {
        "size": size,
        "batch_size": batch_size,
        "faces": faces,
        "rounds": rounds,
        "processors": os.cpu_count(),
        "versions": package_versions(),
        "images_per_second": rates,
        "seconds": times,
        "ratios": {name: rates[a] / rates[b] for name, a, b, _ in RATIOS if {a, b} <= rates.keys()},
        "waiting_for_data": clock.share(rounds * steps),
        "loader_images_per_core_second": loaded,
    }


def print_training(results: Mapping[str, Any]) -> None:
    """The figures of `measure_training` as tables."""
    rates, spread = results["images_per_second"], results["seconds"]
    rows = [[name, f"{rate:.1f}", f"{max(spread[name]) / min(spread[name]):.2f}"] for name, rate in rates.items()]
    title = f"{results['size']} px, batch {results['batch_size']}, median of {results['rounds']} epochs"
    print_table(title, ["way of training", "images a second", "slowest / fastest"], rows, turned=False)
    targets = {name: target for name, _, _, target in RATIOS}
    lines = [[name, f"{ratio:.2f}", targets[name]] for name, ratio in results["ratios"].items()]
    lines.append(["time of the steps spent waiting for data", f"{results['waiting_for_data']:.1%}", ""])
    speed = f"{results['loader_images_per_core_second']:.0f}"
    lines.append([f"loader, {LOADED} px, images a second of one core", speed, "≥ 1500"])
    print_table("", ["within this run", "", "target"], lines, turned=False)


@dataclass(frozen=True)
class TrainingSpeedOptions(Options):
    """Measure the speed of training: recorded and live teachers, bare fit, reference way."""

    size: int = option(224, "side of the input in pixels", within=(32, 1024))
    batch_size: int = option(16, "faces per step", within=(1, math.inf))
    faces: int = option(96, "faces per epoch", within=(1, math.inf))
    rounds: int = option(3, "epochs of each way that count", within=(1, math.inf))
    reference: str = option("", "file with the reference way; tools/reference.py of the checkout if left out")
    output: Path = option(Path("benchmark"), "folder of the results: training.json, training.png")


def run_training_benchmark(options: TrainingSpeedOptions) -> dict[str, Any]:
    """Measure, print, and write `training.json` and `training.png`.

    The reference way is left out where its file is not there.
    """
    usual = Path("tools/reference.py")
    file = Path(options.reference) if options.reference else usual if usual.is_file() else None
    if file is None:
        print(f"no {usual} here: the reference loop is skipped (--reference FILE)")
    files = ["training.json", "training.png"]
    check_free(options.output, files)
    results = measure_training(
        size=options.size, batch_size=options.batch_size, faces=options.faces, rounds=options.rounds, reference=file
    )
    claim(options.output, files)
    print_training(results)
    write_json(options.output / "training.json", results)
    with atomic_file(options.output / "training.png") as picture:
        picture.write_bytes(bar_plot(results["images_per_second"], "images a second"))
    print(f"{options.output / 'training.json'}, {options.output / 'training.png'}")
    return results


if __name__ == "__main__":
    run_tool(TrainingSpeedOptions, run_training_benchmark, "python -m tools.speed.training")
