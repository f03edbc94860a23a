"""Finding faces in photographs.

The detectors are the embedded finder, the Haar cascade of OpenCV 4, and YuNet and BlazeFace if the user has their
files. A detector's box is not the landmark box, from which training crops are made; each detector here is calibrated
to the landmark box on faces of 300W.
"""

from kd_loss.detection.base import Detection, Detector
from kd_loss.detection.blazeface import BlazeFaceDetector
from kd_loss.detection.calibration import BoxCalibration
from kd_loss.detection.factory import DETECTORS, open_detector
from kd_loss.detection.finder import FinderDetector
from kd_loss.detection.fixed import FixedBox, WholePicture
from kd_loss.detection.haar import HaarDetector
from kd_loss.detection.yunet import LOWER, SPREAD, YuNetDetector

__all__ = [
    "DETECTORS",
    "LOWER",
    "SPREAD",
    "BlazeFaceDetector",
    "BoxCalibration",
    "Detection",
    "Detector",
    "FinderDetector",
    "FixedBox",
    "HaarDetector",
    "WholePicture",
    "YuNetDetector",
    "open_detector",
]
