"""Tests under real conditions: the package's own finder locates the faces instead of the annotation.

Published figures use crops about annotated points; a user's crops come from the finder. It searches
the photographs if they are available; otherwise the stored crops with their border, in which a face fills about
half of the side and is centred: easier than a photograph, but the box still comes from the finder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.evaluation.metrics import mean_of_known
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.result import Result
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import BadSample, read_image
from kd_loss.inference.predictor import TOGETHER, LandmarkPredictor
from kd_loss.system.errors import UserError

#: a found face matches the annotated one if their landmark boxes overlap by more (intersection over union)
SAME = 0.3


def found_result(annotated: Result | PoseResult, flip_test: bool, source: str = "") -> Result:
    """Run the same network on the same faces, each located by the finder and cropped as in `predict`.

    Faces that are not found have no landmarks (NaN) and no errors: `network` has the number of found faces (`found`),
    their NME with crops about the annotated points (`found_nme_annotated`), and the images searched.

    Args:
        annotated: the result with crops about the annotated points.
        flip_test: whether that result averages over the mirror image.
        source: folder of the photographs, found by the names of the faces; the stored crops by default.

    Raises:
        UserError: the targets are head poses, the network has another scheme, a photograph is missing, or no face
            is found.
    """
    if not isinstance(annotated, Result):
        raise UserError("--finder: a test on the finder's crops measures landmarks, not head poses")
    split = annotated.split
    predictor = LandmarkPredictor.load(Path(annotated.weights), flip_test=flip_test)
    if not split.scheme.agrees(predictor.scheme):
        raise UserError(f"--finder: {annotated.weights} predicts other points than those of {split.scheme.name}")
    predicted = np.full(annotated.truth.shape, np.nan)
    for start in range(0, len(split), TOGETHER):
        rows = range(start, min(start + TOGETHER, len(split)))
        pictures, maps = zip(*_pictures(split, rows, source), strict=True)
        for row, to_source, faces in zip(rows, maps, predictor(list(pictures)), strict=True):
            points = [geometry.apply(to_source, face.landmarks) for face in faces]
            overlaps = [_overlap(found, annotated.truth[row]) for found in points]
            if overlaps and max(overlaps) > SAME:
                predicted[row] = points[int(np.argmax(overlaps))]
    there = ~np.isnan(predicted[:, 0, 0])
    count = int(there.sum())
    if not count:
        raise UserError(f"--finder: no face of {split.folder} was found")
    crops = [geometry.apply(affine, points) for affine, points in zip(split.affine, predicted, strict=True)]
    return replace(
        annotated,
        name=f"{annotated.name}, finder ({count} of {len(split)} found)",
        network={
            **annotated.network,
            "found": count,
            "looked_at": source or "the stored crops with their border",
            "found_nme_annotated": mean_of_known(annotated.nme[there]),
        },
        predicted=predicted,
        normalised=geometry.normalise(np.stack(crops), split.size),
        spread=None,
        teacher_landmarks=None,
    )


def _pictures(split: PreparedSplit, rows: range, source: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield an image for each face, and the map (2, 3) from its pixels to those of the source."""
    for row in rows:
        if source:
            path = Path(source) / str(split.name[row])
            if not path.is_file():  # a photograph of several faces: `photograph.jpg#2`
                path = path.with_name(path.name.rpartition("#")[0] or path.name)
            try:
                yield read_image(path), np.eye(2, 3)
            except BadSample as error:
                raise UserError(f"--source: the photograph {path} of a test face {error}") from None
        else:
            shift = np.array([[1.0, 0, -split.border], [0, 1, -split.border]])
            yield np.asarray(split.images[row]), geometry.compose(geometry.invert(split.affine[row]), shift)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of the boxes of two sets of points; NaN are ignored."""
    a, b = geometry.landmark_box(first), geometry.landmark_box(second)
    common = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common
    return float(common / union)
