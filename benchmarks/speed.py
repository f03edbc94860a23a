"""What the parts cost on this machine: `python benchmarks/speed.py [--json FILE]`.

Faces drawn, faces prepared, augmented pictures loaded, and training steps of the student with and without
the fused batch normalisation, each on as many cores as it takes by itself. Run it on a quiet machine and
compare figures of one run only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.spec import W300
from kd_loss.datasets.synthetic import draw_archive, draw_face
from kd_loss.datasets.w300 import read_w300
from kd_loss.networks import Card, build_network
from kd_loss.training.acceleration import fused_batch_normalization


def rate(work: Callable[[], int], repeats: int = 3) -> float:
    """Items a second, the median of some repeats after one that is not counted."""
    work()
    values = []
    for _ in range(repeats):
        start = time.perf_counter()
        count = work()
        values.append(count / (time.perf_counter() - start))
    return float(np.median(values))


def draw() -> int:
    for index in range(200):
        draw_face(182, 0, index)
    return 200


def training(fused: bool, size: int, batch: int) -> Callable[[], int]:
    """Steps of a MobileNetV2 student on data in memory."""
    card = Card("mobileNetV2", 1.0, "w300", W300.to_dict(), size, "student", 0.15)
    model = build_network(card, momentum=0.9).model
    model.compile("adam", "mae", jit_compile=False)
    x = np.random.default_rng(0).integers(0, 256, (8 * batch, size, size, 3)).astype("float32")
    y = np.zeros((8 * batch, 68, 2), "float32")

    def work() -> int:
        with fused_batch_normalization() if fused else contextlib.nullcontext():
            model.fit(x, y, batch_size=batch, verbose=0)
        return len(x)

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--w300", type=Path, help="a 300W folder, to time prepare on real pictures")
    options = parser.parse_args()
    results: dict[str, float] = {}

    def measure(name: str, work: Callable[[], int], repeats: int = 3) -> None:
        results[name] = round(rate(work, repeats), 1)
        print(f"{name}: {results[name]}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        measure("drawn faces a second and core, for 128-px crops", draw)
        cv2.setNumThreads(threads)
        prepare(draw_archive("synthetic", 512, 160, 0.15, 0), data / "synthetic", size=160, tell=lambda _: None)
        if options.w300:
            archive = read_w300(options.w300)

            def prepare_real() -> int:
                prepare(archive, data / "w300", size=224, tell=lambda _: None)
                return len(archive.samples)

            measure("prepared 224-px faces a second", prepare_real, 2)
        split = open_dataset("synthetic", data).split("train")
        loader = FaceLoader(split, np.arange(512), size=112, batch_size=32, augmentation=Augmentation())

        def load() -> int:
            return sum(len(loader[i][0]) for i in range(len(loader)))

        cv2.setNumThreads(1)
        measure("augmented 112-px pictures a second and core", load)
        cv2.setNumThreads(threads)
    for fused in (False, True):
        kernel = "fused" if fused else "Keras's own"
        measure(f"student's training pictures a second, 112 px, {kernel} batch normalisation", training(fused, 112, 32))
    if options.json:
        results["keras"] = keras.__version__  # type: ignore[assignment]
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
