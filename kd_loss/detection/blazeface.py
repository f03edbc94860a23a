"""BlazeFace (Bazarevsky et al., 2019): the detector of MediaPipe; the user supplies its file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from kd_loss.detection.base import Detection, Reopened, largest_first, merge_boxes, square_at
from kd_loss.system.errors import UserError

#: input side -> strides of the anchors' maps, one entry per anchor of a cell
STRIDES = {128: (8, 8, 16, 16, 16, 16, 16, 16), 192: (4,)}
#: input side -> downward shift of the landmark box's centre, and its side, both in sides of BlazeFace's box. Means of
#: 260 training faces of 300W (standard deviations 0.04 and 0.07, 0.03 and 0.08).
CALIBRATION = {128: (0.048, 0.976), 192: (0.087, 0.923)}


def anchors(size: int) -> np.ndarray:
    """Centres (N, 2) of the anchors, as fractions of the input's side."""
    rows = []
    for stride in sorted(set(STRIDES[size])):
        cells = size // stride
        centres = (np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1) + 0.5) / cells
        rows.append(np.repeat(centres.reshape(-1, 2), STRIDES[size].count(stride), axis=0))
    return np.concatenate(rows)


class BlazeFaceDetector(Reopened):
    """BlazeFace through LiteRT, its short-range (128 px) or full-range (192 px) file.

    Args:
        model: `face_detection_short_range.tflite` or `face_detection_full_range_sparse.tflite`.
        threshold: minimum score of a face, 0…1.
    """

    def __init__(self, model: Path, threshold: float = 0.5):
        from kd_loss.runtimes.files import open_runtime

        if not model.is_file():
            raise UserError(f"no such detector model: {model}")
        self.model, self.threshold = model, threshold
        self._run = open_runtime(model, 2)
        for size in STRIDES:
            try:
                outputs = self._run(np.zeros((1, size, size, 3), np.float32))
            except Exception:  # an input of another size
                continue
            self.size = size
            if sorted(v.shape for v in outputs.values()) == [(1, len(anchors(size)), n) for n in (1, 16)]:
                return
        raise UserError(f"{model} is not a BlazeFace model (face_detection_short_range.tflite of mediapipe)")

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of an image (H, W, 3) uint8 RGB, the largest first."""
        scale = self.size / max(image.shape[:2])
        small = cv2.resize(image, [max(1, round(scale * n)) for n in image.shape[1::-1]], interpolation=cv2.INTER_AREA)
        canvas = np.zeros((self.size, self.size, 3), np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small / 127.5 - 1
        outputs = self._run(canvas[None])
        boxes, logits = sorted((v[0] for v in outputs.values()), key=lambda v: -v.shape[1])
        return largest_first(read_answers(boxes, logits[:, 0], self.size, self.threshold, 1 / scale))


def read_answers(boxes: np.ndarray, logits: np.ndarray, size: int, threshold: float, scale: float) -> list[Detection]:
    """Decode the outputs of BlazeFace to faces.

    Args:
        boxes: (N, 16), centre relative to the anchor, width and height in pixels of the input, then points.
        logits: (N,).
        size: side of the input in pixels.
        threshold: minimum score of a face, 0…1.
        scale: pixels of the image per pixel of the input.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    sure = scores >= threshold
    centres, sides = boxes[sure, :2] + size * anchors(size)[sure], boxes[sure, 2:4]
    values = scale * np.concatenate([centres - sides / 2, sides], axis=1).astype(np.float64)
    (down, longer), found = CALIBRATION[size], []
    for (x, y, width, height), score in merge_boxes(values, scores[sure], 0.3):
        centre = np.array([x + width / 2, y + height / 2 + down * height]) - 0.5
        found.append(square_at(centre, longer * width, score))
    return found
