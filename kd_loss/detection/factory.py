"""Opens a detector by its name."""

from __future__ import annotations

from kd_loss.detection.base import Detector
from kd_loss.detection.blazeface import BlazeFaceDetector
from kd_loss.detection.finder import FinderDetector
from kd_loss.detection.fixed import WholePicture
from kd_loss.detection.haar import HaarDetector
from kd_loss.detection.yunet import YuNetDetector
from kd_loss.system.arguments import number_of, path_of, wrong
from kd_loss.system.errors import UserError, choose

DETECTORS = ("finder", "haar", "yunet", "blazeface", "none")
#: sources of the files that are not shipped
SOURCES = {
    "yunet": "face_detection_yunet_2023mar.onnx of github.com/opencv/opencv_zoo",
    "blazeface": "mediapipe/modules/face_detection/face_detection_short_range.tflite of the wheel of mediapipe 0.10",
}


def open_detector(
    name: str, model: str = "", *, min_score: float | None = None, smallest: float = 0, margin: float = 0.15
) -> Detector:
    """Open a detector by its name, one of `DETECTORS`.

    Args:
        name: one of `DETECTORS`.
        model: its file, for `yunet` and `blazeface`, which are not shipped, or to replace the shipped finder.
        min_score: minimum score of a face; None for the detector's default.
        smallest: for the finder: side of the smallest faces to find, in pixels; 0: those visible in the whole
            image.
        margin: margin of the training crops, for images that are crops.

    Raises:
        UserError: an unknown name, or a file that is missing or is not such a detector.
    """
    kind = choose(name, DETECTORS, "detector")
    file = None if isinstance(model, str) and not model else path_of(model, "model")
    if min_score is not None:
        number_of(min_score, "min_score")
    number_of(smallest, "smallest", wanted="a number of pixels")
    if not 0 <= number_of(margin, "margin") <= 2:
        raise wrong("margin", margin, "a number in 0…2")
    if min_score is not None and not 0 < min_score < 1 and kind != "haar":
        raise UserError(f"--min-score {min_score:g} is not between 0 and 1")
    if smallest and kind != "finder":
        raise UserError(f"--smallest is for the finder, not for {kind}")
    if smallest < 0 or 0 < smallest < 8:
        raise UserError(f"--smallest {smallest:g} is not a face size in pixels: 8 or more, or 0")
    if kind == "finder":
        return FinderDetector(file, min_score, smallest)
    if kind == "haar":
        return HaarDetector(min_score)
    if kind == "none":
        return WholePicture(margin)
    if file is None:
        raise UserError(f"--detector {kind} needs --detector-model FILE: {SOURCES[kind]}")
    detector = YuNetDetector if kind == "yunet" else BlazeFaceDetector
    return detector(file) if min_score is None else detector(file, min_score)
