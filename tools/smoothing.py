"""Jitter and lag of the one-euro filter: `python tools/smoothing.py --weights W [--dataset w300]`.

Videos of 90 frames are made of test photographs, 25 frames a second: held still with sensor noise (standard
deviation 6 of 255), and panned to and fro by half a face side at 0.5 Hz, with the same noise. The tracker follows
the face in them. Jitter: the mean distance of a landmark's movement from one frame to the next from the true
movement. Lag: the delay of the true movement, in frames, that the landmarks' mean fits best.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import open_dataset
from kd_loss.detection import FixedBox
from kd_loss.evaluation.report import print_table
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import read_image
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.tracking import FaceTracker

RATE, FRAMES = 25.0, 90


def video(image: np.ndarray, path: np.ndarray, seed: int) -> list[np.ndarray]:
    """Frames of an image shifted by `path` (N, 2) whole pixels, with noise."""
    rng = np.random.default_rng(seed)
    frames = []
    for x, y in path.astype(int):
        shifted = np.roll(image, (y, x), axis=(0, 1)).astype(np.float32)
        frames.append(np.clip(shifted + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8))
    return frames


def lag(found: np.ndarray, true: np.ndarray) -> float:
    """The delay in frames, to a tenth, at which `true` (N,) explains `found` (N,) best."""
    times = np.arange(len(true))
    delays = np.arange(0, 8, 0.1)
    errors = [np.std((found - np.interp(times - d, times, true))[10:]) for d in delays]
    return float(delays[int(np.argmin(errors))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--dataset", default="w300")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--source", type=Path, required=True, help="folder of the archive")
    parser.add_argument("--faces", type=int, default=10)
    options = parser.parse_args()
    predictor = LandmarkPredictor.load(options.weights)
    split = open_dataset(options.dataset, options.data).split("test")
    truth = split.to_source(split.landmarks)
    rows = []
    for cutoff in (0.0, 3.0, 1.0, 0.5):
        still, moving, delay = [], [], []
        for index in np.linspace(0, len(split) - 1, options.faces).astype(int):
            image = read_image(options.source / str(split.name[index]))
            x0, y0, x1, y1 = geometry.landmark_box(truth[index])
            side = max(x1 - x0, y1 - y0)
            swing = np.round(side / 4 * np.sin(2 * np.pi * 0.5 * np.arange(FRAMES) / RATE))
            for x in (np.zeros(FRAMES), swing):
                path = np.stack([x, np.zeros(FRAMES)], axis=1)
                box = FixedBox((x0, y0, x1 - x0, y1 - y0))
                tracker = FaceTracker(predictor, box, detect_every=10**9, cutoff=cutoff, rate=RATE)
                points = []
                for frame in video(image, path, int(index)):
                    faces = tracker(frame)
                    if not faces:
                        break
                    points.append(faces[0].landmarks)
                if len(points) < FRAMES:
                    print(f"lost after {len(points)} frames: {split.name[index]}")
                    continue
                found = np.array(points)
                step = np.diff(found, axis=0) - np.diff(path, axis=0)[:, None]
                jitter = 100 * np.linalg.norm(step[10:], axis=2).mean() / side
                if x.any():
                    moving.append(jitter)
                    delay.append(lag(found[:, :, 0].mean(axis=1) - found[0, :, 0].mean(), path[:, 0]))
                else:
                    still.append(jitter)
        cells = (np.mean(still), np.mean(moving), np.mean(delay))
        rows.append(["none" if not cutoff else f"{cutoff:g} Hz", *(f"{v:.2f}" for v in cells)])
    header = ["--smooth", "jitter, still: % of the face's side a frame", "jitter, moving", "lag, frames"]
    print_table(f"{options.faces} faces, {FRAMES} frames each at {RATE:g} a second", header, rows, turned=False)


if __name__ == "__main__":
    main()
