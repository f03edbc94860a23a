"""Commands killed at random moments: `python benchmarks/kills.py [--kills 100] [--seed 0] [--output FOLDER]`.

`prepare`, `train-student`, `compare`, `export` and `predict` run on drawn faces, first undisturbed, then again and
again in a fresh folder, each time ended by SIGKILL at a random moment and started once more. Then the results have to
be those of the undisturbed run, what was foreign in the folders has to be there unchanged, and nothing unfinished may
be left. The network is the tests' small one (`tests/tiny.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from kd_loss.files import sha256

ROOT = Path(__file__).parents[1]
FOREIGN = {"thesis.txt": "mine", ".tmp-1-mine": "mine", "manifest.txt": "{}"}


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """`kd-loss` with the small network."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tests.tiny", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def complete(arguments: list[str]) -> float:
    """Run to the end; the seconds it took."""
    begun = time.perf_counter()
    process = start(arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}: {output.decode()[-2000:]}")
    return time.perf_counter() - begun


def weights(path: Path) -> str:
    """The numbers of a `.h5` file, without what HDF5 adds to them."""
    import h5py

    found: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, entry: found.append(f"{name} {np.asarray(entry).tobytes().hex()}")
                        if isinstance(entry, h5py.Dataset) else None)  # fmt: skip
    return hashlib.sha256(" ".join(found).encode()).hexdigest()


@dataclass
class Case:
    """A command: its arguments in a folder, the folder that it writes into, and what its results are."""

    arguments: Callable[[Path], list[str]]
    place: Callable[[Path], Path]
    result: Callable[[Path], Any]
    resume: bool = False


def cases(data: Path, trained: Path) -> dict[str, Case]:
    """The five commands; `data` and `trained` are prepared data and weights to work on."""
    faces = trained.parent / "faces"
    common = ["--dataset", "synthetic", "--data", str(data)]
    small = ["--arch", "tiny", "--size", "32", "--epochs", "3", "--batch-size", "8"]

    def compared(folder: Path) -> Any:
        summary = json.loads((folder / "synthetic" / "compare" / "compare.json").read_text())
        for entry in summary["methods"].values():
            entry.pop("seconds_per_epoch")
        return summary

    def exported(folder: Path) -> Any:
        rows = json.loads((folder / "out" / "export.json").read_text())["files"]
        return [(row["name"], row["bytes"], row["max"]) for row in rows]

    def predicted(folder: Path) -> Any:
        return {p.name: sha256(p) for p in sorted((folder / "out").glob("*.*")) if p.name not in FOREIGN}

    return {
        "prepare": Case(
            lambda f: ["prepare", "--dataset", "synthetic", "--count", "60", "--size", "64", "--data", str(f)],
            lambda f: f,
            lambda f: {p.name: sha256(p) for p in sorted((f / "synthetic").rglob("*.npy"))},
        ),
        "train": Case(
            lambda f: ["train-student", *common, *small, "--method", "none", "--name", "mine", "--runs", str(f)],
            lambda f: f / "synthetic",
            lambda f: weights(f / "synthetic" / "mine" / "last.h5"),
            resume=True,
        ),
        "compare": Case(
            lambda f: ["compare", *common, *small, "--methods", "none", "--seeds", "2", "--runs", str(f)],
            lambda f: f / "synthetic",
            compared,
        ),
        "export": Case(
            lambda f: [
                "export",
                str(trained),
                "--format",
                "litert",
                "saved_model",
                "--data",
                str(data),
                "--output",
                str(f / "out"),
            ],
            lambda f: f / "out",
            exported,
        ),
        "predict": Case(
            lambda f: [
                "predict",
                str(faces),
                "--weights",
                str(trained),
                "--detector",
                "none",
                "--batch-size",
                "4",
                "--output",
                str(f / "out"),
            ],
            lambda f: f / "out",
            predicted,
        ),
    }


def one(case: Case, folder: Path, seconds: float, expected: Any, chance: random.Random) -> list[str]:
    """Kill, start again, look; what is not as it should be."""
    place = case.place(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in FOREIGN.items():
        (place / name).write_text(text)
    process = start(case.arguments(folder))
    time.sleep(chance.uniform(0, seconds))
    process.kill()
    process.communicate()
    again = case.arguments(folder)
    if case.resume and (folder / "synthetic" / "mine" / "config.json").is_file():
        again.append("--resume")
    elif case.resume:
        shutil.rmtree(folder / "synthetic" / "mine", ignore_errors=True)  # killed before there was anything to resume
    complete(again)
    wrong = [] if case.result(folder) == expected else ["another result"]
    wrong += [f"{name} is gone" for name, text in FOREIGN.items() if (place / name).read_text() != text]
    left = [p.name for p in place.rglob(".tmp-*") if p.name not in FOREIGN]
    return wrong + [f"{name} is left" for name in left]


def main() -> None:
    """Run, kill, compare, print, write `kills.json`; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/kills"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        common = ["--dataset", "synthetic"]
        complete(["prepare", *common, "--count", "40", "--size", "48", "--data", str(root / "data")])
        complete([
            "train-student", *common, "--arch", "tiny", "--size", "32", "--epochs", "1", "--method", "none", "--name",
            "base", "--data", str(root / "data"), "--runs", str(root / "runs"),
        ])  # fmt: skip
        trained = root / "runs" / "synthetic" / "base" / "best.h5"
        (trained.parent / "faces").mkdir()
        from kd_loss.datasets.synthetic import draw_face
        from kd_loss.schemes.drawing import encode_png

        for index in range(12):
            (trained.parent / "faces" / f"{index}.png").write_bytes(encode_png(draw_face(64, 0, index)))
        for name, case in cases(root / "data", trained).items():
            seconds = complete(case.arguments(root / f"{name}-whole"))
            expected = case.result(root / f"{name}-whole")
            chance, problems = random.Random(f"{options.seed} {name}"), []
            count = max(1, options.kills // 5)
            for index in range(count):
                folder = root / f"{name}-{index}"
                problems += [f"{index}: {text}" for text in one(case, folder, seconds, expected, chance)]
                shutil.rmtree(folder)
            found[name] = {"kills": count, "seconds": round(seconds, 1), "wrong": problems}
            print(f"{name}: killed {count} times within {seconds:.1f} s: {problems or 'all equal'}", flush=True)
    (options.output / "kills.json").write_text(json.dumps({"seed": options.seed, **found}, indent=2) + "\n")
    sys.exit(1 if any(entry["wrong"] for entry in found.values()) else 0)


if __name__ == "__main__":
    main()
