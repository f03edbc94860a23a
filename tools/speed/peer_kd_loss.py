"""This package from photograph to landmarks, measured as its peers are: one face a photograph, two threads.

The shipped finder and the shipped student, or the `.tflite` that the environment variable KD_LOSS_STUDENT names; how
often the crop is taken again is KD_LOSS_REFINE, 1 if left out.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from kd_loss.detection import FinderDetector
from kd_loss.imaging.pictures import read_image
from kd_loss.inference.predict_command import default_weights
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.weights import without_keras


def main(names: str, output: str) -> None:
    """Ask for the photographs listed in a file."""
    weights = os.environ.get("KD_LOSS_STUDENT") or without_keras(Path(default_weights()))
    predictor, detector = LandmarkPredictor.load(weights, threads=2), FinderDetector()
    refine = int(os.environ.get("KD_LOSS_REFINE", "1"))
    predictor.settled = float(os.environ.get("KD_LOSS_SETTLED", predictor.settled))
    landmarks, times = [], []
    for name in Path(names).read_text(encoding="utf-8").splitlines():
        image = read_image(Path(name))
        start = time.perf_counter()
        surest = sorted(detector(image), key=lambda face: -face.score)[:1]
        faces = predictor.detect(image, lambda _, found=surest: found, refine)  # type: ignore[misc]
        times.append(1000 * (time.perf_counter() - start))
        landmarks.append(faces[0].landmarks if faces else np.full((predictor.scheme.points, 2), np.nan))
    np.savez(output, landmarks=landmarks, milliseconds=times)


if __name__ == "__main__":
    main(*sys.argv[1:])
