"""Detector's boxes against landmark boxes: `python benchmarks/detection.py --weights W --source FOLDER`.

On the test photographs of a prepared dataset: the share of the annotated faces that the detector finds, how
many boxes it gives beside them, and the NME of the found faces with crops from the landmarks' boxes, from the
detector's, and from the detector's refined once and twice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kd_loss import geometry
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.sample import read_image
from kd_loss.detection import HaarDetector, YuNetDetector
from kd_loss.evaluation.metrics import normalising_distance, point_errors
from kd_loss.evaluation.report import print_table
from kd_loss.inference.predictor import LandmarkPredictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--dataset", default="w300")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--source", type=Path, required=True, help="folder of the archive")
    parser.add_argument("--detector-model", type=Path, help="YuNet's file, in place of the Haar cascade")
    options = parser.parse_args()
    predictor = LandmarkPredictor.load(options.weights)
    detector = YuNetDetector(options.detector_model) if options.detector_model else HaarDetector()
    split = open_dataset(options.dataset, options.data).split("test")
    truth = split.to_source(split.landmarks)
    found, scores, false_scores = [], [], []
    ways: dict[str, list[np.ndarray]] = {"landmark box": [], "detector": [], "refined once": [], "refined twice": []}
    for index in range(len(split)):
        image = read_image(options.source / str(split.name[index]))
        x0, y0, x1, y1 = geometry.landmark_box(truth[index])
        centre, side = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
        right = None
        for face in detector(image):
            x, y, width, height = face.box
            near = np.linalg.norm(np.array([x + width / 2, y + height / 2]) - centre) < side / 2
            if near and 0.5 < width / side < 2 and right is None:
                right = face
            else:
                false_scores.append(face.score)
        if right is None:
            continue
        found.append(index)
        scores.append(right.score)
        ways["landmark box"].append(predictor(image, (x0, y0, x1 - x0, y1 - y0)).landmarks)
        for refine, name in enumerate(["detector", "refined once", "refined twice"]):
            chosen = right
            ways[name].append(predictor.detect(image, lambda _, face=chosen: [face], refine)[0].landmarks)
    distance = normalising_distance(truth[found], split.spec, split.spec.default_normaliser)
    rows = [
        [name, f"{point_errors(np.array(points), truth[found], distance).mean():.2f}"] for name, points in ways.items()
    ]
    print_table("NME % of the faces that were found", ["crop", "NME %"], rows, turned=False)
    print(
        f"found {len(found)} of {len(split)} faces ({100 * len(found) / len(split):.1f} %), "
        f"{len(false_scores)} more boxes"
    )
    print(f"scores of the found: 5 % below {np.percentile(scores, 5):.2f}; of the others: {np.round(false_scores, 2)}")


if __name__ == "__main__":
    main()
