"""Finding faces in photographs: the Haar cascade that comes with OpenCV 4, and YuNet where its file is at hand.

A detector's box is not the box of the landmarks, from which training crops are made; each detector here is
calibrated to it on faces of 300W.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kd_loss.errors import UserError
from kd_loss.networks.trial import check_trial

#: of a cascade's box: how far down the landmarks' centre lies, and the longer side of the landmarks' box.
#: Measured on faces of 300W (means of 299 faces; standard deviations 0.09 and 0.13).
SHIFT, SIDE = 0.14, 0.90
#: of five points (eyes, nose tip, mouth corners): the longer side of the landmarks' box over their spread (root mean
#: square distance from their mean), and how far towards the mouth its centre lies, in distances from eyes to
#: mouth. From the annotations of 1,040 faces of 300W (standard deviations 0.24 and 0.09).
SPREAD, LOWER = 3.72, 0.15
#: pictures are searched at this longer side, for faces of at least a twentieth of it
SEARCHED = 640


@dataclass(frozen=True)
class Detection:
    """A face: `box` is the estimated landmark box `(x, y, width, height)` in pixels, `score` is larger for surer."""

    box: tuple[float, float, float, float]
    score: float


def _smaller(image: np.ndarray, scale: float) -> tuple[int, int]:
    """Width and height of a picture made smaller, at least a pixel."""
    return max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))


class HaarDetector:
    """Frontal faces, the largest first; turned heads are often missed."""

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(
            str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml")
        )

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of a picture (H, W, 3) uint8 RGB."""
        scale = min(1.0, SEARCHED / max(image.shape[:2]))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            grey = cv2.resize(grey, _smaller(grey, scale), interpolation=cv2.INTER_AREA)
        least = max(24, round(max(grey.shape) / 20))
        boxes, _, weights = self._cascade.detectMultiScale3(
            cv2.equalizeHist(grey), 1.1, 4, minSize=(least, least), outputRejectLevels=True
        )
        found = []
        for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True):
            side = SIDE * width
            centre_x, centre_y = x + width / 2, y + height / 2 + SHIFT * height
            corner = ((centre_x - side / 2) / scale, (centre_y - side / 2) / scale)
            found.append(Detection((*corner, side / scale, side / scale), float(weight)))
        return sorted(found, key=lambda face: -face.box[2])


class YuNetDetector:
    """YuNet (Wu, Peng & Yu, 2023) through OpenCV: finds turned heads too; its model file is the user's.

    The landmark box is estimated from YuNet's five points, not from its box. Tested with a stand-in file of the
    same inputs and outputs: the calibration is that of annotated points.
    """

    def __init__(self, model: Path, threshold: float = 0.6):
        if not model.is_file():
            raise UserError(f"no such detector model: {model}")
        check_trial(model, "yunet")
        try:
            self._detector = cv2.FaceDetectorYN.create(str(model), "", (320, 320), threshold)
        except cv2.error:
            raise UserError(f"{model} does not load as a YuNet model (.onnx)") from None
        self.model = model

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of a picture (H, W, 3) uint8 RGB, the largest first."""
        scale = min(1.0, SEARCHED / max(image.shape[:2]))
        small = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if scale < 1:
            small = cv2.resize(small, _smaller(small, scale), interpolation=cv2.INTER_AREA)
        self._detector.setInputSize((small.shape[1], small.shape[0]))
        try:
            _, rows = self._detector.detect(small)
        except cv2.error:
            raise UserError(f"{self.model} does not run as a YuNet model") from None
        found = [_from_five_points(row[4:14].reshape(5, 2) / scale, row[14]) for row in ([] if rows is None else rows)]
        return sorted(found, key=lambda face: -face.box[2])


def _from_five_points(points: np.ndarray, score: float) -> Detection:
    """From eyes, nose tip and mouth corners (5, 2) in pixels."""
    middle = points.mean(axis=0)
    side = SPREAD * float(np.sqrt(np.square(points - middle).sum(axis=1).mean()))
    centre = middle + LOWER * (points[3:].mean(axis=0) - points[:2].mean(axis=0))
    return Detection((float(centre[0] - side / 2), float(centre[1] - side / 2), side, side), float(score))


class FixedBox:
    """One face at a place that the user gives: the box of its landmarks `(x, y, width, height)`."""

    def __init__(self, box: tuple[float, float, float, float]):
        self._box = box

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """That box, in every picture; a `UserError` where it lies outside of one."""
        x, y, width, height = self._box
        if x + width < 0 or y + height < 0 or x > image.shape[1] or y > image.shape[0]:
            where = ",".join(f"{value:g}" for value in self._box)
            raise UserError(f"the box {where} lies outside of the picture ({image.shape[1]} × {image.shape[0]})")
        return [Detection(self._box, 1.0)]


class WholePicture:
    """A picture is one cropped face, cut as in training: with `margin` on each end of the landmarks' box."""

    def __init__(self, margin: float):
        self._margin = margin

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The landmark box whose crop is the square around the picture."""
        height, width = image.shape[:2]
        side = max(height, width) / (1 + 2 * self._margin)
        corner = ((width - side) / 2 - 0.5, (height - side) / 2 - 0.5)
        return [Detection((*corner, side, side), 1.0)]
