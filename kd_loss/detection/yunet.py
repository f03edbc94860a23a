"""YuNet (Wu, Peng & Yu, 2023) through OpenCV; the user supplies its model file."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from kd_loss.detection.base import Detection, Reopened, shrink
from kd_loss.runtimes.files import check_trial
from kd_loss.system.errors import UserError

#: for five points (eyes, nose tip, mouth corners): the ratio of the landmark box's longer side to their spread (root
#: mean square distance from their mean), and the shift of its centre towards the mouth, in distances from eyes to
#: mouth. From the annotations of 1,040 faces of 300W (standard deviations 0.24 and 0.09).
SPREAD, LOWER = 3.72, 0.15


class YuNetDetector(Reopened):
    """YuNet (Wu, Peng & Yu, 2023) through OpenCV: also finds turned heads; the user supplies its model file.

    The landmark box is estimated from YuNet's five points, not from its box. Tested with a stand-in file with the
    same inputs and outputs; the calibration comes from annotated points.
    """

    def __init__(self, model: Path, threshold: float = 0.6):
        if not model.is_file():
            raise UserError(f"no such detector model: {model}")
        check_trial(model, "yunet")
        try:
            self._detector = cv2.FaceDetectorYN.create(str(model), "", (320, 320), threshold)
        except cv2.error:
            raise UserError(f"{model} does not load as a YuNet model (.onnx)") from None
        self.model, self._alone = model, threading.Lock()

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of an image (H, W, 3) uint8 RGB, the largest first."""
        small, scale = shrink(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        try:
            with self._alone:
                self._detector.setInputSize((small.shape[1], small.shape[0]))
                _, rows = self._detector.detect(small)
        except cv2.error:
            raise UserError(f"{self.model} does not run as a YuNet model") from None
        found = [_from_five_points(row[4:14].reshape(5, 2) / scale, row[14]) for row in ([] if rows is None else rows)]
        return sorted(found, key=lambda face: -face.box[2])


def _from_five_points(points: np.ndarray, score: float) -> Detection:
    """Estimate the landmark box from eyes, nose tip and mouth corners (5, 2) in pixels."""
    middle = points.mean(axis=0)
    side = SPREAD * float(np.sqrt(np.square(points - middle).sum(axis=1).mean()))
    centre = middle + LOWER * (points[3:].mean(axis=0) - points[:2].mean(axis=0))
    return Detection((float(centre[0] - side / 2), float(centre[1] - side / 2), side, side), float(score))
