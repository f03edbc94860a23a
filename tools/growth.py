"""Epoch time and memory against the number of faces: `python tools/growth.py [--output FOLDER]`.

A small student on prepared faces of 48 px, from 1,000 to 100,000 (a thousand drawn ones, repeated), each size in
a process of its own. Memory is the peak of what belongs to the process alone (anonymous pages); the pages of the
memory-mapped images are the system's to keep or to drop.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)


def grow(source: Path, target: Path, count: int) -> None:
    """A prepared dataset with its training faces repeated up to `count`."""
    manifest = json.loads((source / "manifest.json").read_text())
    (target / "train").mkdir(parents=True)
    for path in (source / "train").glob("*.npy"):
        values = np.load(path, mmap_mode="r")
        grown = np.lib.format.open_memmap(target / "train" / path.name, "w+", values.dtype, (count, *values.shape[1:]))
        for start in range(0, count, len(values)):
            grown[start : start + len(values)] = values[: count - start]
        grown.flush()
    groups = np.lib.format.open_memmap(target / "train" / "group.npy", "w+", "U8", (count,))
    groups[:] = np.arange(count).astype("U8")
    groups.flush()
    manifest["counts"] = {"train": {"train": count}}
    (target / "manifest.json").write_text(json.dumps(manifest))


def private_memory() -> float:
    """Anonymous resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def one(data: Path, epochs: int = 2) -> None:
    """Train on one prepared dataset and print seconds of the last epoch and peak memory."""
    from kd_loss.runs.history import read_history
    from kd_loss.training.options import StudentOptions
    from kd_loss.training.train_student import train_student

    peak, running = [0.0], True

    def watch() -> None:
        while running:
            peak[0] = max(peak[0], private_memory())
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    options = StudentOptions(
        dataset="synthetic", method=["none"], alpha=0.35, size=32, batch_size=64, epochs=epochs, validation=0.01,
        data=data, runs=data / "runs",
    )  # fmt: skip
    folder = train_student(options)
    running = False
    print(json.dumps({"seconds": read_history(folder / "history.csv")[-1]["seconds"], "megabytes": round(peak[0])}))


def draw(results: dict[int, dict[str, float]], path: Path) -> None:
    """Epoch time and memory over the number of faces."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    counts = list(results)
    left.loglog(counts, [r["seconds"] for r in results.values()], "o-", label="measured")
    last = results[counts[-1]]["seconds"]
    left.loglog(counts, [last * n / counts[-1] for n in counts], ":", color="grey", label="linear")
    left.set(xlabel="faces", ylabel="seconds per epoch")
    left.legend()
    megabytes = [r["megabytes"] for r in results.values()]
    right.semilogx(counts, megabytes, "o-")
    right.set(xlabel="faces", ylabel="private memory in MB", ylim=(0, 1.2 * max(megabytes)))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/growth"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return
    from kd_loss.archives.synthetic import draw_archive
    from kd_loss.datasets.prepare import prepare

    options.output.mkdir(parents=True, exist_ok=True)
    results: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        prepare(draw_archive("synthetic", 1000, 48, 0.15, 0), source, size=48)
        for count in SIZES:
            data = Path(temporary) / str(count)
            grow(source, data / "synthetic", count)
            done = subprocess.run(
                [sys.executable, __file__, "--one", str(data)], check=True, capture_output=True, text=True
            )
            results[count] = json.loads(done.stdout.splitlines()[-1])
            print(f"{count} faces: {results[count]}", flush=True)
            subprocess.run(["rm", "-r", str(data)], check=True)
    (options.output / "growth.json").write_text(json.dumps(results, indent=2) + "\n")
    draw(results, options.output / "growth.png")


if __name__ == "__main__":
    main()
