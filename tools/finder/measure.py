"""How good a finder is on images that were kept apart, and the score from which its answers are faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.detection.base import Detection, Detector
from kd_loss.detection.finder import FinderDetector
from kd_loss.detection.finder_format import LEVELS
from tools.finder.faces import FacePicture

#: boxes that no other detector confirms, of a hundred photographs of anything, that the score of a map lets pass:
#: that of small faces, that of large ones
FALSE_OF_100 = (3.0, 6.0)
#: the least and the largest score that is chosen
SCORES = (0.2, 0.95)


def matches(face: Detection, row: np.ndarray) -> bool:
    """Whether a box is that of a face `(x, y, side, …)`: centres within half a side, sizes within a factor of 2."""
    x, y, width, height = face.box
    near = np.hypot(x + width / 2 - row[0], y + height / 2 - row[1]) < row[2] / 2
    return bool(near and 0.5 < width / row[2] < 2)


def found_scores(detector: Detector, pictures: Sequence[FacePicture]) -> np.ndarray:
    """For each image the score (N,) with which its first face is found, 0 where it is not."""
    return np.array([_best(detector(picture.image), picture.faces[0]) for picture in pictures])


def _best(found: Sequence[Detection], row: np.ndarray) -> float:
    return max((face.score for face in found if matches(face, row)), default=0.0)


def false_scores(detector: Detector, pictures: Sequence[FacePicture]) -> np.ndarray:
    """Scores of the boxes that are neither a face nor what may be one, over all images."""
    scores = []
    for picture in pictures:
        known = [*picture.faces, *picture.unsure]
        scores += [face.score for face in detector(picture.image) if not any(matches(face, row) for row in known)]
    return np.array(scores)


def choose_score(false: np.ndarray, allowed: int) -> float:
    """The least score, to a hundredth, that lets at most `allowed` of the false boxes' scores pass."""
    worst = np.sort(false)[::-1]
    least = float(worst[allowed]) + 1e-9 if len(worst) > allowed else 0.0
    return float(np.clip(np.ceil(100 * least) / 100, *SCORES))


def choose_scores(path: Path, backgrounds: Sequence[FacePicture]) -> list[float]:
    """For each map of a written finder the score from which its answers are faces, see `choose_score`."""
    scores = []
    for number in range(len(LEVELS)):
        alone = [0.05 if number == other else 1 - 1e-9 for other in range(len(LEVELS))]
        allowed = int(FALSE_OF_100[number] * len(backgrounds) / 100)
        scores.append(choose_score(false_scores(FinderDetector(path, alone), backgrounds), allowed))
    return scores


def judge(
    detector: Detector, faces: dict[str, Sequence[FacePicture]], backgrounds: Sequence[FacePicture]
) -> dict[str, Any]:
    """What a detector finds in images with a face, by their names, and its false boxes on backgrounds."""
    rows: dict[str, Any] = {
        name: {"faces": len(part), "found": int((found_scores(detector, part) > 0).sum())}
        for name, part in faces.items()
        if part
    }
    rows["backgrounds"] = {"pictures": len(backgrounds), "false": len(false_scores(detector, backgrounds))}
    return rows
