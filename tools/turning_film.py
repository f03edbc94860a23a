"""How the tracker follows turning heads: `python -m tools.turning_film --weights W --dataset w300 --source 300W/`.

Each clip is one photograph whose head is turned step by step (`datasets.turned`) by `--degrees` and back, to both
sides unless the landmarks show a profile, which turns towards the front; 25 frames a second, finder and tracker as in
`predict`. *Jitter*: the mean change of a point's error from frame to frame, in % of the face's side. *Jump*: the
largest change of any point, 95th percentile. Errors are those of the annotated points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.turned import turn_head
from kd_loss.detection import open_detector
from kd_loss.evaluation.report import print_table
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import read_image
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.result import FaceLandmarks
from kd_loss.inference.tracking import FaceTracker
from kd_loss.schemes.full_head import fit_head

#: degrees of yaw from which a face is a profile
PROFILE = 45.0
RATE = 25.0


def angles(yaw: float, most: float) -> np.ndarray:
    """The turn of each frame in degrees, a few at each end standing still.

    >>> angles(0.0, 2.0).tolist()
    [0.0, 0.0, 0.0, -1.0, -2.0, -1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    >>> angles(80.0, 2.0).tolist()
    [0.0, 0.0, 0.0, -1.0, -2.0, -1.0, 0.0]
    """
    there = np.arange(0, np.floor(most) + 1)
    back = np.concatenate([there, there[-2::-1]])
    still = np.zeros(2)
    if abs(yaw) < PROFILE:
        return np.concatenate([still, -back, back[1:]]) + 0.0
    return np.concatenate([still, -np.sign(yaw) * back]) + 0.0


@dataclass
class Clip:
    """What was measured in one clip.

    Attributes:
        frames, lost: frames, and those without the face.
        tracks: number of tracks that followed it.
        errors: mean error of each frame in % of the face's side; jitter, jumps: mean and largest change of a point's
            error between two frames.
    """

    frames: int = 0
    lost: int = 0
    tracks: int = 0
    errors: list[float] = field(default_factory=list)
    jitter: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)


def follow(
    tracker: Callable[[np.ndarray], list[FaceLandmarks]], image: np.ndarray, points: np.ndarray, turns: np.ndarray
) -> Clip:
    """Track the face with these points (K, 2), in pixels, while its head turns."""
    clip, numbers, last = Clip(), set(), None
    known = np.isfinite(points[:, 0])
    x0, y0, x1, y1 = geometry.landmark_box(points[known])
    side = max(x1 - x0, y1 - y0)
    for turn in turns:
        frame, places = turn_head(image, points, float(turn))
        middle = places[known].mean(axis=0)
        faces = [
            face for face in tracker(frame) if np.linalg.norm(face.landmarks[known].mean(axis=0) - middle) < side / 2
        ]
        clip.frames += 1
        if not faces:
            clip.lost, last = clip.lost + 1, None
            continue
        numbers.add(faces[0].number)
        error = 100 * (faces[0].landmarks[known] - places[known]) / side
        clip.errors.append(float(np.linalg.norm(error, axis=1).mean()))
        if last is not None:
            change = np.linalg.norm(error - last, axis=1)
            clip.jitter.append(float(change.mean()))
            clip.jumps.append(float(change.max()))
        last = error
    clip.tracks = len(numbers)
    return clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--dataset", default="w300")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--source", type=Path, required=True, help="folder of the archive")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--degrees", type=float, default=25.0)
    parser.add_argument("--yaw", type=float, nargs=2, default=(0, 90), metavar=("FROM", "TO"), help="of the faces")
    options = parser.parse_args()
    predictor, detector = LandmarkPredictor.load(options.weights), open_detector("finder")
    split = open_dataset(options.dataset, options.data).split(options.split)
    truth = split.to_source(split.landmarks).astype(np.float64)
    yaws = np.array([fit_head(points).yaw for points in truth])
    wanted = np.flatnonzero((abs(yaws) >= options.yaw[0]) & (abs(yaws) <= options.yaw[1]))
    if not len(wanted):
        raise SystemExit(f"no face of {options.dataset} has a yaw of {options.yaw[0]:g} to {options.yaw[1]:g} degrees")
    clips = []
    for index in wanted[np.unique(np.linspace(0, len(wanted) - 1, options.clips).astype(int))]:
        image = read_image(options.source / str(split.name[index]).partition("#")[0])
        tracker = FaceTracker(predictor, detector, rate=RATE)
        clips.append(follow(tracker, image, truth[index], angles(yaws[index], options.degrees)))
    errors, jitter, jumps = (
        np.concatenate([getattr(clip, name) for clip in clips]) for name in ("errors", "jitter", "jumps")
    )
    row = [
        f"{sum(clip.lost for clip in clips)} of {sum(clip.frames for clip in clips)}",
        f"{sum(clip.tracks for clip in clips)} for {sum(clip.tracks > 0 for clip in clips)} of {len(clips)}",
        *(f"{errors.mean():.2f}", f"{jitter.mean():.2f}", f"{np.percentile(jumps, 95):.1f}"),
    ]
    header = ["dataset", "frames without the face", "tracks", "error, % of the side", "jitter", "jump"]
    print_table(f"{len(wanted)} faces of that yaw", header, [[options.dataset, *row]], turned=False)


if __name__ == "__main__":
    main()
