"""Other detectors on the same photographs, each in a Python environment of its own.

`python -m tools.speed.peers student.tflite --peer mediapipe=PYTHON --source FOLDER` is `kd-loss benchmark` with a row
for each of them.

A peer is a script that is called as `python script.py photographs.txt output.npz` and needs nothing of this
package: it finds the face in each photograph of the list and writes `landmarks` (N, M, 2), pixels of the
photograph, rows of NaN where it finds none, and `milliseconds` (N,), of detection and landmarks, without reading the
file. `peer_mediapipe.py` and `peer_dlib.py` beside this file are two; `peer_kd_loss.py` is this package itself, finder
and student. Its points are read as the dataset's through a linear map, fitted on the training photographs as for a
teacher of another scheme.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.cli import run_tool
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.evaluation.metrics import normalising_distance, point_errors
from kd_loss.imaging import geometry
from kd_loss.schemes.point_map import fit_point_map
from kd_loss.schemes.registry import landmark_scheme
from kd_loss.speed.benchmark_command import BenchmarkOptions, run_benchmark
from kd_loss.system.configuration import option
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class PeerOptions(BenchmarkOptions):
    """Measure networks, and other detectors on the photographs that the dataset was prepared from."""

    peer: list[str] = option(
        [],
        "from photograph to landmarks in a Python of its own: mediapipe=/path/to/bin/python, dlib=…, kd_loss=… (this "
        "package itself), or python:script.py",
        group="peers",
    )
    source: str = option("", "folder of the dataset's archive, whose photographs they are given")

    def check(self) -> None:
        """Refuse what nothing can be measured of."""
        super().check()
        if not self.peer or not self.source:
            raise UserError("give --peer NAME=PYTHON and --source, the folder of the dataset's photographs")
        for peer in self.peer:
            parse_peer(peer)


KNOWN = {name: Path(__file__).with_name(f"peer_{name}.py") for name in ("mediapipe", "dlib", "kd_loss")}


def parse_peer(text: str) -> tuple[str, list[str]]:
    """`mediapipe=/path/to/python` or `python:script.py` -> name and the command's first words."""
    name, equals, python = text.partition("=")
    if equals and name in KNOWN:
        return name, [python, str(KNOWN[name])]
    python, colon, script = text.rpartition(":")
    if not colon or not Path(script).is_file():
        raise UserError(f"--peer {text} is neither {' nor '.join(f'{n}=PYTHON' for n in KNOWN)} nor PYTHON:SCRIPT")
    return Path(script).stem, [python, script]


def ask_peer(command: list[str], photographs: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (N, M, 2), NaN where no face was found, and milliseconds (N,)."""
    with tempfile.TemporaryDirectory() as folder:
        names, output = Path(folder, "photographs.txt"), Path(folder, "output.npz")
        names.write_text("\n".join(str(p.resolve()) for p in photographs), encoding="utf-8")
        try:
            done = subprocess.run([*command, str(names), str(output)], capture_output=True, text=True)
        except OSError as error:
            raise UserError(f"cannot run {command[0]}: {error.strerror}") from None
        if done.returncode or not output.is_file():
            reason = (done.stderr.strip() or "it wrote nothing").splitlines()[-1][:160]
            raise UserError(f"the peer {command[1]} failed: {reason}")
        try:
            with np.load(output) as answer:
                landmarks, times = answer["landmarks"].astype(np.float64), answer["milliseconds"].astype(np.float64)
        except (KeyError, ValueError, OSError) as error:
            raise UserError(f"the peer {command[1]} wrote something else: {error}") from None
        if landmarks.shape[::2] != (len(photographs), 2) or times.shape != (len(photographs),):
            raise UserError(f"the peer {command[1]} gave {landmarks.shape} for {len(photographs)} photographs")
        return landmarks, times


def _ask_split(command: list[str], split: PreparedSplit, source: Path) -> tuple[np.ndarray, np.ndarray]:
    names = [str(name).partition("#")[0] for name in split.name]  # WFLW has several faces of one photograph
    if any(name.endswith((".mat", ".csv")) for name in names):
        raise UserError("peers read photographs, and this dataset was not prepared from photograph files")
    folder = source / "WFLW_images" if (source / "WFLW_images").is_dir() else source
    photographs = [folder / name for name in names]
    missing = next((p for p in photographs if not p.is_file()), None)
    if missing:
        raise UserError(f"no such photograph: {missing}; set --source to the folder that the dataset was prepared from")
    return ask_peer(command, photographs)


def own_frames(landmarks: np.ndarray) -> list[np.ndarray]:
    """Maps (2, 3) from source pixels to the square around each face's own points (N, M, 2), −0.5…0.5.

    Not to the annotated crop: a peer does not get the position of the face.
    """
    return [geometry.normalised_affine(geometry.square_crop(geometry.landmark_box(p), 0.0)) for p in landmarks]


def _move(frames: list[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
    return np.stack([geometry.apply(frame, points) for frame, points in zip(frames, landmarks, strict=True)])


def same_face(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which answers (N, M, 2) are about the annotated faces (N, K, 2), not about somebody else in the photograph.

    The centres of the boxes are nearer than half the annotated box's side, the sides within a factor of three.
    """
    right = np.isfinite(points).all(axis=(1, 2))
    for i in np.flatnonzero(right):
        boxes = [np.reshape(geometry.landmark_box(p), (2, 2)) for p in (points[i], truth[i])]
        (centre, side), (true_centre, true_side) = ((box.mean(axis=0), np.ptp(box, axis=0).max()) for box in boxes)
        right[i] = np.linalg.norm(centre - true_centre) < true_side / 2 and 1 / 3 < side / true_side < 3
    return right


def measure_peer(text: str, dataset: PreparedDataset, source: Path) -> dict[str, Any]:
    """Time in ms, share found and NME in % of a peer on the test photographs; faces not found are left out.

    Raises:
        UserError: the peer does not run, answers in another form or finds none of the faces; the dataset has
            no photographs in files.
    """
    name, command = parse_peer(text)
    train, test = dataset.split("train"), dataset.split("test")
    scheme = landmark_scheme(test.scheme, f"peers find landmarks: {test.scheme.name} has none")
    known, _ = _ask_split(command, train, source)
    found, times = _ask_split(command, test, source)
    usable, seen = (
        same_face(points, split.to_source(split.landmarks)) for points, split in ((known, train), (found, test))
    )
    if not usable.any() or not seen.any():
        raise UserError(f"the peer {name} found none of the annotated faces")
    frames = own_frames(known[usable])
    fitted = fit_point_map(_move(frames, known[usable]), _move(frames, train.to_source(train.landmarks)[usable]))
    frames = own_frames(found[seen])
    predicted = _move([geometry.invert(frame) for frame in frames], fitted(_move(frames, found[seen])))
    truth = test.to_source(test.landmarks)[seen]
    distance = normalising_distance(truth, scheme, scheme.default_normaliser)
    return {
        "name": name,
        "points": int(found.shape[1]),
        "found": float(seen.mean()),
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "nme": float(point_errors(predicted, truth, distance).mean()),
    }


def run_peers(options: PeerOptions) -> dict[str, Any]:
    """`run_benchmark` with a row for each peer."""
    return run_benchmark(
        options, lambda dataset: [measure_peer(peer, dataset, Path(options.source)) for peer in options.peer]
    )


if __name__ == "__main__":
    run_tool(PeerOptions, run_peers, "python -m tools.speed.peers")
