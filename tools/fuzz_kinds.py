"""The kinds of damaged inputs that `fuzz.py` tries: how a sound one is made, damaged and read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: how many inputs of each kind at factor 1
COUNTS = {
    **{"picture": 3000, "pts": 1000, "npy": 600, "csv": 600, "spec": 600, "wflw": 300, "cofw": 300},
    **{"array": 3000, "manifest": 1000, "card": 1000, "config": 600, "history": 300, "state": 300, "video": 300},
    **{"h5": 200, "keras": 100, "onnx": 100, "tflite": 100, "int8": 100},
}


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
    from kd_loss.archives.synthetic import draw_archive
    from kd_loss.datasets.prepare import prepare

    prepare(draw_archive("synthetic", 12, 32, 0.15, 0), folder / "data" / "synthetic", size=32)
    return folder / "data"


def network(folder: Path, suffix: str, precision: str = "fp32") -> Path:
    """A small network of random weights in a file of that suffix."""
    import tests.tiny  # noqa: F401 (the architecture)
    from kd_loss.networks import Card, build_network, save_network
    from kd_loss.schemes.benchmarks import W300

    # `tiny` of tests/tiny.py: five convolutions and a head, a tenth of MobileNetV2's layers to build each time
    made = build_network(Card("tiny", 1.0, "w300", W300.to_dict(), 32, "student", 0.15))
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
    from kd_loss.archives import cofw, pts, wflw
    from kd_loss.archives import folder as folders
    from kd_loss.datasets.prepared import open_dataset
    from kd_loss.schemes import benchmarks
    from kd_loss.synthetic.faces import draw_face, face_landmarks

    rng0 = np.random.default_rng(0)
    points = face_landmarks("w300", 60, 0, 0)
    if name in ("h5", "keras", "onnx", "tflite", "int8"):
        from kd_loss.runtimes.crop_network import open_network

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

        files, path = [], folder / "a.avi"
        for suffix, code in (("avi", "MJPG"), ("mp4", "mp4v")):
            writer = cv2.VideoWriter(str(folder / f"sound.{suffix}"), cv2.VideoWriter.fourcc(*code), 10, (64, 48))
            for _ in range(10):
                writer.write(rng0.integers(0, 256, (48, 64, 3)).astype(np.uint8))
            writer.release()
            files.append((folder / f"sound.{suffix}").read_bytes())
        return Kind(
            folder, lambda rng: path.write_bytes(damaged(files[int(rng.integers(2))], rng)) and None,
            lambda: sum(1 for _ in Video(str(path)).open()),
        )  # fmt: skip
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
        text = f"image,x,y\n{row}\n{row}\n".encode()
        return of_file(
            folder, text, "a.csv", lambda: [s.load() for s in folders.read_folder(folder, benchmarks.W300).samples]
        )
    if name in ("wflw", "cofw"):
        from tests.archives.archives import write_cofw, write_wflw

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

        card = Card("mobileNetV2", 0.35, "w300", benchmarks.W300.to_dict(), 32, "student", 0.15).__dict__
        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(dict(card), rng)) and None,
            lambda: Card.read(folder / "a.h5").landmark_scheme(),
        )  # fmt: skip
    if name == "spec":
        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(benchmarks.COFW.to_dict(), rng)) and None,
            lambda: benchmarks.chosen_landmark_scheme("mine", str(folder / "a.json")),
        )  # fmt: skip
    if name == "config":
        from kd_loss.system.configuration import read_config, to_plain
        from kd_loss.training.options import StudentOptions

        return Kind(
            folder, lambda rng: (folder / "a.json").write_bytes(json_bytes(to_plain(StudentOptions()), rng)) and None,
            lambda: read_config(folder / "a.json", StudentOptions),
        )  # fmt: skip
    if name == "history":
        from kd_loss.runs.history import read_history, write_history

        write_history(folder / "a.csv", [{"epoch": i, "nme": 5.0, "seconds": 1.5} for i in range(20)])
        sound = (folder / "a.csv").read_bytes()
        return of_file(folder, sound, "a.csv", lambda: read_history(folder / "a.csv"))
    import keras

    from kd_loss.runs.state import load_state, save_state

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    save_state(folder / "a.npz", model, best=1.0, history=[])
    return of_file(folder, (folder / "a.npz").read_bytes(), "a.npz", lambda: load_state(folder / "a.npz", model))
