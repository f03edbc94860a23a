"""Commands killed at random moments: `python tools/kills.py [--kills 100] [--seed 0] [--commands …]`.

`prepare`, `train-student`, `compare`, `export` and `predict` run on drawn faces, first undisturbed, then again and
again in a fresh folder, each time ended by SIGKILL at a random moment and started once more. Then the results have to
be those of the undisturbed run, what was foreign in the folders has to be there unchanged, and nothing unfinished may
be left. The network is the tests' small one (`tests/tiny.py`). Every command runs in a process forked from this one,
which has imported everything: no kill is spent on the seconds of the imports, in which nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import tests.tiny  # noqa: F401 (the architecture `tiny`)
from kd_loss import cli
from kd_loss.system.files import sha256

#: of all kills, by how long the commands take
SHARE = {"predict": 0.3, "prepare": 0.3, "train": 0.14, "export": 0.14, "compare": 0.12}
FOREIGN = {"thesis.txt": "mine", ".tmp-1-mine": "mine", "manifest.txt": "{}"}


def import_all() -> None:
    """What the commands import; nothing is computed, as TensorFlow's threads do not survive a fork."""
    for name in ("prepare", "train-student", "compare", "export", "predict"):
        for place in (cli.COMMANDS[name].options, cli.COMMANDS[name].function):
            importlib.import_module(place.partition(":")[0])
    for name in ("tensorflow", "matplotlib.pyplot", "scipy.stats", "filelock", "ai_edge_litert.interpreter"):
        importlib.import_module(name)


def command(arguments: list[str], log: Path) -> None:
    """The child: `kd-loss` with what it prints in a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["kd-loss", *arguments]
    cli.main()


def start(arguments: list[str], log: Path) -> ForkProcess:
    """The command in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=command, args=(arguments, log))
    process.start()
    return process


def complete(arguments: list[str], log: Path) -> float:
    """Run to the end; the seconds it took."""
    begun = time.perf_counter()
    process = start(arguments, log)
    process.join()
    if process.exitcode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.exitcode}: {log.read_text()[-2000:]}")
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
        files = [p for p in (folder / "out").rglob("*") if p.is_file() and p.name not in FOREIGN]
        names = sorted(p.relative_to(folder).as_posix() for p in files)
        # the predictions of threads differ in the last bits; the file of LiteRT does not
        return names, sha256(folder / "out" / "best-fp32.tflite"), [(row["name"], round(row["max"], 3)) for row in rows]

    def predicted(folder: Path) -> Any:
        return {p.name: sha256(p) for p in sorted((folder / "out").glob("*.*")) if p.name not in FOREIGN}

    def trained_to(folder: Path) -> Any:
        run = folder / "synthetic" / "mine"
        return [weights(run / name) for name in ("best.h5", "last.h5")]

    return {
        "prepare": Case(
            lambda f: ["prepare", "--dataset", "synthetic", "--count", "60", "--size", "64", "--data", str(f)],
            lambda f: f,
            lambda f: {p.name: sha256(p) for p in sorted((f / "synthetic").rglob("*.npy"))},
        ),
        "train": Case(
            lambda f: ["train-student", *common, *small, "--method", "none", "--name", "mine", "--runs", str(f)],
            lambda f: f / "synthetic",
            trained_to,
            resume=True,
        ),
        "compare": Case(
            lambda f: [
                "compare",
                *common,
                *small,
                "--epochs",
                "1",
                "--methods",
                "none",
                "--seeds",
                "2",
                "--runs",
                str(f),
            ],
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


def different(found: Any, expected: Any) -> Any:
    """What differs: of tables the keys alone."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    return found, expected


def one(case: Case, folder: Path, seconds: float, expected: Any, chance: random.Random) -> tuple[list[str], bool]:
    """Kill, start again, look; what is not as it should be, and whether the command had not ended before."""
    place, log = case.place(folder), folder.with_suffix(".log")
    place.mkdir(parents=True, exist_ok=True)
    for name, text in FOREIGN.items():
        (place / name).write_text(text)
    process = start(case.arguments(folder), log)
    process.join(chance.uniform(0, seconds))
    process.kill()
    process.join()
    killed = process.exitcode != 0
    again = case.arguments(folder)
    if case.resume and (folder / "synthetic" / "mine" / "config.json").is_file():
        again.append("--resume")
    elif case.resume:
        shutil.rmtree(folder / "synthetic" / "mine", ignore_errors=True)  # killed before there was anything to resume
    if killed or not case.resume:
        try:
            complete(again, log)
        except SystemExit as error:
            return [str(error)], killed
    found = case.result(folder)
    wrong = [] if found == expected else [f"another result: {different(found, expected)}"]
    wrong += [f"{name} is gone" for name, text in FOREIGN.items() if (place / name).read_text() != text]
    left = [p.name for p in place.rglob(".tmp-*") if p.name not in FOREIGN]
    return wrong + [f"{name} is left" for name in left], killed


def make_faces(folder: Path) -> None:
    """Images for `predict`; in a process of its own, as OpenCV's threads do not survive a fork either."""
    from kd_loss.schemes.drawing import encode_png
    from kd_loss.synthetic.faces import draw_face

    folder.mkdir()
    for index in range(12):
        (folder / f"{index}.png").write_bytes(encode_png(draw_face(64, 0, index)))


def main() -> None:
    """Run, kill, compare, print, write `kills.json`; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/kills"))
    parser.add_argument("--commands", nargs="+", default=list(SHARE), choices=list(SHARE), metavar="COMMAND")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    import_all()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        common, log = ["--dataset", "synthetic"], root / "log"
        complete(["prepare", *common, "--count", "40", "--size", "48", "--data", str(root / "data")], log)
        complete([
            "train-student", *common, "--arch", "tiny", "--size", "32", "--epochs", "1", "--method", "none", "--name",
            "base", "--data", str(root / "data"), "--runs", str(root / "runs"),
        ], log)  # fmt: skip
        trained = root / "runs" / "synthetic" / "base" / "best.h5"
        faces = multiprocessing.get_context("fork").Process(target=make_faces, args=(trained.parent / "faces",))
        faces.start()
        faces.join()
        all_cases = cases(root / "data", trained)
        for name in options.commands:
            case = all_cases[name]
            seconds = complete(case.arguments(root / f"{name}-whole"), log)
            expected = case.result(root / f"{name}-whole")
            chance, problems, runs, killed = random.Random(f"{options.seed} {name}"), [], 0, 0
            count = max(1, round(options.kills * SHARE[name]))
            while killed < count and runs < 3 * count:  # a command may have ended before its moment
                folder = root / f"{name}-{runs}"
                wrong, in_time = one(case, folder, seconds, expected, chance)
                problems += [f"{runs}: {text}" for text in wrong]
                killed, runs = killed + in_time, runs + 1
                shutil.rmtree(folder)
                print(f"{name} {runs}: {wrong or 'equal'}", file=sys.stderr, flush=True)
            found[name] = {"kills": killed, "seconds": round(seconds, 1), "wrong": problems}
            print(f"{name}: killed {killed} times within {seconds:.1f} s: {problems or 'all equal'}", flush=True)
    (options.output / "kills.json").write_text(json.dumps({"seed": options.seed, **found}, indent=2) + "\n")
    sys.exit(1 if any(entry["wrong"] for entry in found.values()) else 0)


if __name__ == "__main__":
    main()
