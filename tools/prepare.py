"""What making a dataset costs on this machine: `python tools/prepare.py [--faces 1000] [--w300 FOLDER]`.

Faces drawn by one thread; faces prepared at 224 px from JPEGs of 512 px, on all cores; and how long `kd-loss`
takes to say what it can do. Each figure is the median of some repeats.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from kd_loss.archives.folder import read_folder
from kd_loss.archives.w300 import read_w300
from kd_loss.datasets.prepare import prepare
from kd_loss.schemes.benchmarks import W300
from kd_loss.synthetic.faces import draw_face, face_landmarks

SIDE, SIZE = 512, 224


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Of some repeats after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def write_photographs(folder: Path, faces: int) -> float:
    """JPEGs of 512 px with `.npy` landmarks; drawn faces with noise, so that they are as large as photographs.

    Returns:
        The mean size of a file in KB.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(faces):
        noise = rng.integers(-6, 7, (SIDE, SIDE, 1))
        picture = np.clip(draw_face(SIDE, 0, i) + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        np.save(folder / f"{i}.npy", face_landmarks("w300", SIDE, 0, i))
    return sum(path.stat().st_size for path in folder.glob("*.jpg")) / faces / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--w300", type=Path, help="a 300W folder, to prepare real photographs, too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        results[name] = round(value, 3)
        print(f"{name}: {value:.4g}", flush=True)

    for arguments in (["--help"], ["prepare", "--help"]):
        command = [sys.executable, "-m", "kd_loss", *arguments]
        seconds = median_seconds(lambda command=command: subprocess.run(command, stdout=subprocess.DEVNULL), 5)
        note(f"kd-loss {' '.join(arguments)}, seconds", seconds)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        draw = median_seconds(lambda: [draw_face(182, 0, i) for i in range(200)], options.repeats)
        note("drawn faces a second, one thread, for 128-px crops", 200 / draw)
        cv2.setNumThreads(threads)
        note(f"size of a {SIDE}-px JPEG, KB", write_photographs(folder / "photographs", options.faces))
        sources = {f"{SIDE}-px JPEGs": lambda: read_folder(folder / "photographs", W300)}
        if options.w300:
            sources["300W"] = lambda: read_w300(options.w300)
        for name, read in sources.items():
            count = len(read().samples)

            def work(read: Callable = read) -> None:
                prepare(read(), folder / "prepared", size=SIZE, skip_bad=True)

            note(f"prepared {SIZE}-px faces a second from {name}", count / median_seconds(work, options.repeats))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
