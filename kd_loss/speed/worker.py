"""One network in one process of its own: `python -m kd_loss.speed.worker WEIGHTS THREADS CROPS OUTPUT SECONDS`.

Separate processes, because peak memory and a runtime's threads belong to a process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def milliseconds(call: Callable[[], object], seconds: float) -> np.ndarray:
    """Times of `call` in ms, repeated for about `seconds` and at least 20 times, after five uncounted calls."""
    for _ in range(5):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, getrusage starts at the size of the parent process
        peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
        return int(peak.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(weights: Path, threads: int, crops: np.ndarray, seconds: float) -> tuple[dict[str, float], np.ndarray]:
    """Figures of one network on `threads` threads, and its targets (N, …) for the crops (N, S, S, 3)."""
    from kd_loss.inference.pose import load_predictor
    from kd_loss.runtimes.files import SUFFIXES, check_trial

    if weights.suffix in SUFFIXES:  # once per process; not part of the runtime's own cost
        check_trial(weights)
    start = time.perf_counter()
    predictor = load_predictor(weights, threads)
    size = predictor.card.size
    predictor.network.run(np.zeros((1, size, size, 3), np.uint8))
    load = time.perf_counter() - start
    many = np.resize(crops, (32, *crops.shape[1:]))
    picture = crops[0]
    box = (0.1 * size, 0.1 * size, 0.8 * size, 0.8 * size)
    single = milliseconds(lambda: predictor.network.run(crops[:1]), seconds)
    whole = milliseconds(lambda: predictor.predict_many([picture], [box]), seconds)
    batch = milliseconds(lambda: predictor.network.run(many), seconds)
    memory = peak_memory()
    predicted = np.concatenate([predictor.network.run(crops[i : i + 32]) for i in range(0, len(crops), 32)])
    return {
        "load_s": load,
        "p50_ms": float(np.percentile(single, 50)),
        "p95_ms": float(np.percentile(single, 95)),
        "predictor_ms": float(np.percentile(whole, 50)),
        "faces_per_s": float(32 * 1000 / np.percentile(batch, 50)),
        "memory_mb": memory,
    }, predicted


def main() -> None:
    """Measure, write the landmarks to OUTPUT and print the figures as a line of JSON."""
    weights, threads, crops, output, seconds = sys.argv[1:]
    if Path(weights).suffix in (".h5", ".keras"):  # TensorFlow accepts a thread count only before its first operation
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"] = threads
        os.environ["TF_NUM_INTEROP_THREADS"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    figures, predicted = measure(Path(weights), int(threads), np.load(crops), float(seconds))
    np.save(output, predicted)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
