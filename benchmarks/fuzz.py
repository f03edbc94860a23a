"""Damaged inputs: `python benchmarks/fuzz.py [--factor 10] [--seed 0] [--kinds KIND …] [--output FOLDER]`.

Every input of every kind is made from a sound file by a seeded damage, and given to the function that the commands
read such files with. An answer or one line is right; anything else is a traceback, a process that ends a crash. Each
kind runs in a process of its own, with a limit on its memory. `--factor 1` tries about 13,000 inputs; `fuzz.json`
holds the figures, and every input that broke something lies beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

#: how many inputs of each kind at factor 1
COUNTS = {
    **{"picture": 3000, "pts": 1000, "npy": 600, "csv": 600, "spec": 600, "wflw": 300, "cofw": 300},
    **{"array": 3000, "manifest": 1000, "card": 1000, "config": 600, "history": 300, "state": 300, "video": 300},
    **{"h5": 200, "keras": 100, "onnx": 100, "tflite": 100, "int8": 100},
}
#: MB that a process may take more than it has when it starts on the inputs
ROOM = 3000


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, with bytes changed, with blocks swapped or with a block of 0xff; half of it near the start."""
    changed = bytearray(data)
    reach = len(data) if rng.random() < 0.5 else min(4096, len(data))
    a, b = sorted(rng.integers(0, reach, 2).tolist())
    match int(rng.integers(5)):
        case 0:
            changed = changed[:b]
        case 1:
            for place in rng.integers(0, reach, 1 + int(rng.integers(8))):
                changed[place] = int(rng.integers(256))
        case 2:
            size = min(64, len(data) - b)
            changed[a : a + size], changed[b : b + size] = changed[b : b + size], changed[a : a + size]
        case 3:
            changed[a : a + 16] = b"\xff" * 16
        case _:
            changed[a] ^= 1 << int(rng.integers(8))
    return bytes(changed)


VALUES = (
    *(None, True, -1, 0, 1, 10**9, 10**30, 0.5, -1e30, float("nan"), float("inf"), "", "x", "\ud800", "a\0b", "../x"),
    *([], [0], [[0]], [None], {}, {"x": 1}, {"x": None}, "9" * 5000, [[]] * 50),
)


def edited(values: Any, rng: np.random.Generator) -> Any:
    """JSON with an entry, at any depth, replaced, dropped or renamed; now and then another text altogether."""
    values = json.loads(json.dumps(values))
    places: list[tuple[Any, Any]] = []
    waiting = [values]
    while waiting:
        part = waiting.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                waiting.append(part[key])
    part, key = places[int(rng.integers(min(len(places), 40 if rng.random() < 0.7 else len(places))))]
    action = int(rng.integers(8))
    if action == 0:
        del part[key]
    elif action == 1 and isinstance(part, dict):
        part[str(VALUES[int(rng.integers(len(VALUES)))])[:20]] = part.pop(key)
    else:
        part[key] = VALUES[int(rng.integers(len(VALUES)))]
    return values


def json_bytes(values: Any, rng: np.random.Generator) -> bytes:
    """Edited JSON as bytes, a tenth of it with damaged bytes, a hundredth very deep."""
    if rng.random() < 0.01:
        return b"[" * 100_000
    data = json.dumps(edited(values, rng)).encode()
    return damaged(data, rng) if rng.random() < 0.1 else data


class Kind:
    """One kind of input in a folder of its own: `make` writes an input, `read` gives it to the package."""

    def __init__(self, folder: Path, make: Callable[[np.random.Generator], None], read: Callable[[], object]):
        self.folder, self.make, self.read = folder, make, read


def prepared(folder: Path) -> Path:
    """A small prepared dataset of drawn faces."""
    from kd_loss.datasets.prepare import prepare
    from kd_loss.datasets.synthetic import draw_archive

    prepare(draw_archive("synthetic", 12, 32, 0.15, 0), folder / "data" / "synthetic", size=32, tell=lambda _: None)
    return folder / "data"


def network(folder: Path, suffix: str, precision: str = "fp32") -> Path:
    """A small network of random weights in a file of that suffix."""
    from kd_loss.datasets.spec import W300
    from kd_loss.networks import Card, build_network, save_network

    made = build_network(Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15))
    path = folder / f"sound{suffix}"
    if suffix in (".h5", ".keras"):
        save_network(made, path) if suffix == ".h5" else made.model.save(path)
        made.card.write(path)
        return path
    from kd_loss.export.convert import to_litert, to_onnx

    crops = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    (to_litert if suffix == ".tflite" else to_onnx)(made, path, precision, crops)
    return path


def of_file(folder: Path, sound: bytes, name: str, read: Callable[[], object]) -> Kind:
    """A kind whose inputs are one file with damaged bytes."""
    return Kind(folder, lambda rng: (folder / name).write_bytes(damaged(sound, rng)) and None, read)


def kind_of(name: str, folder: Path) -> Kind:
    """Make the sound inputs of a kind; the imports are part of it, so that they do not count as memory."""
    from kd_loss.datasets import cofw, pts, spec, wflw
    from kd_loss.datasets import folder as folders
    from kd_loss.datasets.prepared import open_dataset
    from kd_loss.datasets.synthetic import draw_face, face_landmarks

    rng0 = np.random.default_rng(0)
    points = face_landmarks("w300", 60, 0, 0)
    if name in ("h5", "keras", "onnx", "tflite", "int8"):
        from kd_loss.networks.crop_network import open_network

        suffix = {"int8": ".tflite"}.get(name, f".{name}")
        sound = network(folder, suffix, "int8" if name == "int8" else "fp32")
        open_network(sound)
        if sound.with_suffix(".json").is_file():
            shutil.copy(sound.with_suffix(".json"), folder / "net.json")
        return of_file(folder, sound.read_bytes(), f"net{suffix}", lambda: open_network(folder / f"net{suffix}"))
    if name == "picture":
        import cv2

        from kd_loss.inference.sources import read_picture

        image = rng0.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        files = [cv2.imencode(suffix, image)[1].tobytes() for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp")]
        path = folder / "a.png"
        return Kind(
            folder, lambda rng: path.write_bytes(damaged(files[int(rng.integers(5))], rng)) and None,
            lambda: read_picture(path),
        )  # fmt: skip
    if name == "video":
        import cv2

        from kd_loss.inference.sources import Video

        path = folder / "a.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        for _ in range(10):
            writer.write(rng0.integers(0, 256, (48, 64, 3)).astype(np.uint8))
        writer.release()
        return of_file(folder, path.read_bytes(), "a.avi", lambda: sum(1 for _ in Video(str(path)).open()))
    if name == "pts":
        return of_file(folder, pts.format_pts(points).encode(), "a.pts", lambda: pts.read_pts(folder / "a.pts", 68))
    if name == "npy":
        np.save(folder / "a.npy", points)
        sound = (folder / "a.npy").read_bytes()
        return of_file(folder, sound, "a.npy", lambda: folders.read_npy(folder / "a.npy", 68))
    if name == "csv":
        import cv2

        cv2.imwrite(str(folder / "a.png"), draw_face(60, 0, 0))
        row = "a.png," + ",".join(f"{value:.2f}" for value in points.reshape(-1))
        return of_file(
            folder, f"image,x,y\n{row}\n{row}\n".encode(), "a.csv", lambda: folders.read_folder(folder, spec.W300)
        )
    if name in ("wflw", "cofw"):
        from tests.datasets.archives import write_cofw, write_wflw

        (write_wflw if name == "wflw" else write_cofw)(folder)
        path = next(iter(sorted(folder.rglob("*.txt" if name == "wflw" else "*.mat"))))

        def read() -> None:
            archive = wflw.read_wflw(folder) if name == "wflw" else cofw.read_cofw(folder)
            for sample in archive.samples:
                sample.load()

        return of_file(path.parent, path.read_bytes(), path.name, read)
    if name in ("array", "manifest"):
        data = prepared(folder)
        place = data / "synthetic"
        sound_files = {path: path.read_bytes() for path in sorted(place.rglob("*.npy"))}
        manifest = json.loads((place / "manifest.json").read_text())

        def spoil(rng: np.random.Generator) -> None:
            if name == "manifest":
                (place / "manifest.json").write_bytes(json_bytes(manifest, rng))
                return
            for path, sound in sound_files.items():
                path.write_bytes(sound)
            path = list(sound_files)[int(rng.integers(len(sound_files)))]
            sound = sound_files[path]
            # most of the damage to the 128 bytes of the header, where one byte matters
            head = damaged(sound[:128], rng) if rng.random() < 0.7 else damaged(sound, rng)
            path.write_bytes(head + sound[128:] if len(head) == 128 else head)

        def use() -> None:
            dataset = open_dataset("synthetic", data)
            for split in (dataset.split("train"), dataset.split("test")):
                split.rows(), split.to_source(split.landmarks), split.name.tolist(), np.array(split.images[0])

        return Kind(place, spoil, use)
    if name == "card":
        from kd_loss.networks.card import Card

        card = Card("mobileNetV2", 0.35, "w300", spec.W300.to_dict(), 32, "student", 0.15).__dict__
        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(dict(card), rng)) and None,
            lambda: Card.read(folder / "a.h5").dataset_spec(),
        )  # fmt: skip
    if name == "spec":
        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(spec.COFW.to_dict(), rng)) and None,
            lambda: spec.chosen_spec("mine", str(folder / "a.json")),
        )  # fmt: skip
    if name == "config":
        from kd_loss.configuration import read_config, to_plain
        from kd_loss.training.options import StudentOptions

        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(to_plain(StudentOptions()), rng)) and None,
            lambda: read_config(folder / "a.json", StudentOptions),
        )  # fmt: skip
    if name == "history":
        from kd_loss.training.history import read_history, write_history

        write_history(folder / "a.csv", [{"epoch": i, "nme": 5.0, "seconds": 1.5} for i in range(20)])
        sound = (folder / "a.csv").read_bytes()
        return of_file(folder, sound, "a.csv", lambda: read_history(folder / "a.csv"))
    import keras

    from kd_loss.training.state import load_state, save_state

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    save_state(folder / "a.npz", model, best=1.0, history=[])
    return of_file(folder, (folder / "a.npz").read_bytes(), "a.npz", lambda: load_state(folder / "a.npz", model))


def memory(entry: str) -> int:
    """`VmSize`, or `VmHWM` (the most resident so far), of this process in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) >> 10


def worker(name: str, seed: int, start: int, count: int, keep: Path) -> None:
    """Try inputs `start` to `count`; a line of JSON for each that is not an answer or one line of ours."""
    import resource

    from kd_loss.datasets.sample import BadSample
    from kd_loss.errors import UserError
    from kd_loss.quiet import quiet_stderr

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with quiet_stderr():
            kind = kind_of(name, folder)
        most = (memory("VmSize") + ROOM) << 20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resident, refused, bad = memory("VmHWM"), 0, 0
        for index in range(start, count):
            kind.make(np.random.default_rng((seed, sorted(COUNTS).index(name), index)))
            print(index, flush=True)
            try:
                kind.read()
            except (UserError, BadSample) as error:
                refused += 1
                bad += "\n" in str(error)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                bad += 1
                (keep / f"{name}-{index}.txt").write_text(traceback.format_exc())
        print(json.dumps({"refused": refused, "bad": bad, "mb": memory("VmHWM") - resident}), flush=True)


def run(name: str, seed: int, count: int, keep: Path) -> dict[str, Any]:
    """All inputs of a kind; a process that one of them ends is started again after it."""
    total = {"inputs": count, "refused": 0, "tracebacks": 0, "crashes": 0, "mb": 0, "seconds": 0.0}
    start, begun = 0, time.perf_counter()
    while start < count:
        command = [sys.executable, __file__, "--worker", name, str(seed), str(start), str(count), str(keep)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        if done.returncode == 0:
            part = json.loads(lines[-1])
            total["refused"] += part["refused"]
            total["tracebacks"] += part["bad"]
            total["mb"] = max(total["mb"], part["mb"])
            break
        if not lines:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        total["crashes"] += 1
        (keep / f"{name}-{lines[-1]}.txt").write_text(f"exit code {done.returncode}\n{done.stderr[-2000:]}")
        start = int(lines[-1]) + 1
    total["seconds"] = round(time.perf_counter() - begun, 1)
    return total


def results(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind by kind."""
    for name in options.kinds:
        count = max(1, round(COUNTS[name] * options.factor))
        found = run(name, options.seed, count, options.output)
        print(
            f"{name}: {found['inputs']} inputs, {found['refused']} refused, {found['tracebacks']} tracebacks, "
            f"{found['crashes']} crashes, {found['mb']} MB more, {found['seconds']} s",
            flush=True,
        )
        yield name, found


def main() -> None:
    """Try, print and write; exit code 1 where something broke."""
    if sys.argv[1:2] == ["--worker"]:
        name, seed, start, count, keep = sys.argv[2:]
        worker(name, int(seed), int(start), int(count), Path(keep))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(COUNTS), choices=list(COUNTS), metavar="KIND")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    kinds = dict(results(options))
    keys = ("inputs", "refused", "tracebacks", "crashes")
    total: dict[str, Any] = {key: sum(kind[key] for kind in kinds.values()) for key in keys}
    total["mb"] = max(kind["mb"] for kind in kinds.values())
    print("all: " + ", ".join(f"{value} {key}" for key, value in total.items()))
    record = {"seed": options.seed, "factor": options.factor, "room_mb": ROOM, "all": total, "kinds": kinds}
    (options.output / "fuzz.json").write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(1 if total["tracebacks"] or total["crashes"] else 0)


if __name__ == "__main__":
    main()
