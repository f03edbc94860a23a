"""The command `test-keypoints`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import open_dataset
from kd_loss.evaluation.report import print_table
from kd_loss.keypoints.losses import average_keypoint_distance
from kd_loss.keypoints.options import KeypointTestOptions
from kd_loss.keypoints.regression import Faces, judge, regress, split_scheme, wide_faces
from kd_loss.keypoints.sheet import write_sheet
from kd_loss.networks.keypoint_detector import KeypointDetector, build_detector, load_detector
from kd_loss.system.errors import UserError
from kd_loss.system.files import write_json


def run_test_keypoints(options: KeypointTestOptions) -> list[dict[str, Any]]:
    """Print and return the rows of the table; writes `keypoints.json` and `faces.png` beside the first weights."""
    detectors = [load_detector(Path(path)) for path in options.weights]
    teacher = load_detector(Path(options.reference)) if options.reference else None
    dataset = open_dataset(options.dataset, options.data)
    split_scheme(dataset.scheme)
    size = detectors[0].card.size
    for detector, path in zip(
        [*detectors, *([teacher] if teacher else [])], [*options.weights, options.reference], strict=False
    ):
        if detector.card.size != size:
            raise UserError(
                f"{path} takes {detector.card.size} pixels, {options.weights[0]} {size}; test them separately"
            )
    splits = [dataset.split(name) for name in ("train", "test")]
    train, test = (wide_faces(split, size, options.context, options.jitter, seed) for seed, split in enumerate(splits))
    teacher_landmarks = teacher.find(test.images) if teacher else None
    mean = np.broadcast_to(train.landmarks.mean(axis=0), test.landmarks.shape)
    rows: list[dict[str, Any]] = [{"name": "mean shape", **judge(mean, splits[1], test)}]
    untrained = build_detector(dataclasses.replace(detectors[0].card, training={}, metrics={}), seed=1)
    named = [("the first one, untrained", untrained), *zip(options.weights, detectors, strict=True)]
    if teacher:
        named.append((f"teacher {options.reference}", teacher))
    for name, detector in named:
        rows.append(_row(name, detector, train, test, splits[1], teacher_landmarks))
    header = ["detector", "keypoints", "parameters", "NME %", "95 %", *(["AKD"] if teacher else [])]
    print_table(f"landmarks of {len(test.images)} faces from keypoints, ridge on {len(train.images)}", header, [
        [
            row["name"],
            str(row.get("points", "")),
            f"{row['parameters']:,}" if "parameters" in row else "",
            f"{row['nme']:.2f}",
            f"{row['low']:.2f}…{row['high']:.2f}",
            *([f"{row['akd']:.4f}" if "akd" in row else ""] if teacher else []),
        ]
        for row in rows
    ])  # fmt: skip
    folder = Path(options.weights[0]).parent
    write_json(folder / "keypoints.json", {"context": options.context, "jitter": options.jitter, "rows": rows})
    some = np.linspace(0, len(test.images) - 1, 18).astype(int)
    write_sheet(folder / "faces.png", test.images[some], detectors[0].find(test.images[some]))
    return rows


def _row(
    name: str, detector: KeypointDetector, train: Faces, test: Faces, split: Any, teacher_landmarks: np.ndarray | None
) -> dict[str, Any]:
    """A detector's figures; includes AKD if it has as many keypoints as the teacher."""
    found = detector.find(test.images)
    row = {
        "name": name,
        "points": detector.card.points,
        "parameters": detector.model.count_params(),
        **regress(detector.find(train.images), train, found, test, split),
    }
    if teacher_landmarks is not None and teacher_landmarks.shape == found.shape:
        row["akd"] = float(np.mean(np.asarray(average_keypoint_distance(found, teacher_landmarks))))
    return row
