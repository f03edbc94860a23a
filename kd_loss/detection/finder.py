"""The embedded finder: a small network that was distilled for this package, run without Keras.

It searches the whole image at its input's size, and finds faces from about a 22nd of the image's longer
side. On request it searches tiles of the image for smaller ones; by default it does so only if it found a small face,
and then in four tiles, down to a 40th.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from kd_loss.detection.base import Detection, Reopened, largest_first, merge_boxes, square_at
from kd_loss.detection.finder_format import CHANNELS, LEVELS, decode
from kd_loss.runtimes.files import Run, open_runtime
from kd_loss.system.bundled import shipped
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json

FINDER = Path("models", "detectors", "finder.tflite")
#: sides of faces in pixels of the input: the smallest found, and the largest taken from tiles, which overlap by as
#: much; larger ones are taken from the whole image, or from larger tiles
LEAST, OF_TILES = 10, 48
#: largest face in units of the image's shorter side; on textures the finder predicts larger boxes
LARGEST = 1.1
#: smallest standard deviation of the grey levels in a face, in parts of their mean or, if that is less, of their
#: distance from white, and never below the least one. On walls and skies, which give no clue to scale, the finder
#: predicts boxes as large as the image
CONTRAST, LEAST_CONTRAST = 0.10, 1.5
#: boxes that overlap by more (intersection over union) belong to one face
SAME = 0.35
#: a face below this fraction of the image's longer side is seldom alone: if the whole image shows one, the finder
#: also searches for faces half the size visible in it
OF_GROUPS = 0.15
#: most tiles; a photograph of 100 megapixels has this many at full size
MOST_TILES = 4000
_View = tuple[np.ndarray, np.ndarray, np.ndarray, bool]


def shipped_finder() -> Path:
    """The finder's file in the working folder, in this package's checkout, or in the installed package."""
    found = shipped(FINDER)
    if found is None:
        raise UserError(f"{FINDER} is missing; give --detector-model, or --detector haar")
    return found


class FinderDetector(Reopened):
    """The embedded finder, run by LiteRT if it is installed, otherwise by OpenCV.

    Args:
        model: `.tflite` or `.onnx` with its card (`.json`) beside it; by default the shipped one.
        min_score: minimum score of a face, 0…1; two numbers apply to the map of small faces and to the map of large
            ones; by default the card's two.
        smallest: side in pixels of the smallest faces to find, whatever the size of the image; smaller ones are
            not returned; 0 finds those visible in the whole image at once and looks again where one is small.
    """

    def __init__(
        self, model: Path | None = None, min_score: float | Sequence[float] | None = None, smallest: float = 0
    ):
        path = model or shipped_finder()
        if not path.is_file():
            raise UserError(f"no such detector model: {path}")
        card = read_json(path.with_suffix(".json"), "the finder's card")
        try:
            self.size, scores = int(card["size"]), [float(score) for score in card["min_scores"]]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"the card {path.with_suffix('.json')} is not that of a finder") from None
        if not 32 <= self.size <= 2048 or len(scores) != len(LEVELS) or not all(0 < score < 1 for score in scores):
            raise UserError(f"the card {path.with_suffix('.json')} is malformed")
        if min_score is not None:
            scores = [min_score] * len(LEVELS) if isinstance(min_score, float | int) else list(min_score)
        if not all(0 < score < 1 for score in scores):
            raise UserError(f"--min-score {scores[0]:g} is not between 0 and 1")
        self.min_scores, self.smallest = tuple(scores), smallest
        self._run = _open(path)
        self._maps(np.zeros((self.size, self.size, 3), np.uint8), path)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """The faces of an image (H, W, 3) uint8 RGB, the largest first."""
        faces = self._faces(image, self._views(image, self.smallest))
        longest = max(image.shape[:2])
        if self.smallest:
            return [face for face in faces if face.box[2] >= self.smallest]
        if any(face.box[2] < OF_GROUPS * longest for face in faces):
            # at this scale two tiles with their overlap cover the longer side
            tiles = self._views(image, LEAST * longest / (2 * self.size - OF_TILES))
            next(tiles)  # the whole image, already searched
            new = [
                face for face in self._faces(image, tiles) if not any(_shares_a_centre(face, known) for known in faces)
            ]
            faces = largest_first([*faces, *new])
        return faces

    def _faces(self, image: np.ndarray, views: Iterator[_View]) -> list[Detection]:
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        for corner, part, scale, whole in views:
            found, sure = self._look(part)
            keep = found[:, 2] <= (LARGEST * min(part.shape[:2]) if whole else OF_TILES)
            found, sure = found[keep], sure[keep]
            middle = (found[:, :2] + found[:, 2:] / 2 + 0.5) / scale - 0.5 + corner
            found[:, 2:] /= scale.max()
            found[:, :2] = middle - found[:, 2:] / 2
            boxes.append(found)
            scores.append(sure)
        merged = merge_boxes(np.concatenate(boxes), np.concatenate(scores), SAME)
        faces = [square_at(box[:2] + box[2:] / 2, box[2], score) for box, score in merged]
        return largest_first([face for face in faces if _has_contrast(image, face)])

    def _views(self, image: np.ndarray, smallest: float) -> Iterator[_View]:
        """Parts of an image no larger than the input: upper left corner, pixels, scales, whether it is the whole.

        The scales are those of x and y, which differ by the rounding of the shorter side.
        """
        longest = max(image.shape[:2])
        scale = self.size / longest
        level = _resized(image, scale)
        yield np.zeros(2), level, _scales(level, image), True
        tiles = 0
        while smallest and smallest * scale < 0.999 * LEAST:
            scale = min(2 * scale, LEAST / smallest)
            level = _resized(image, scale)
            both = _scales(level, image)
            for y in _starts(level.shape[0], self.size):
                for x in _starts(level.shape[1], self.size):
                    tiles += 1
                    if tiles > MOST_TILES:
                        raise UserError(f"faces of {smallest:g} pixels in this image take too many tiles")
                    yield np.array([x, y]) / both, level[y : y + self.size, x : x + self.size], both, False

    def _look(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) in pixels of an image no larger than the input, and their scores (N,)."""
        canvas = np.zeros((self.size, self.size, 3), np.uint8)
        canvas[: part.shape[0], : part.shape[1]] = part
        logits = [float(np.log(score / (1 - score))) for score in self.min_scores]
        answers = zip(self._maps(canvas), LEVELS, logits, strict=True)
        found = [decode(values, level, logit) for values, level, logit in answers]
        return np.concatenate([boxes for boxes, _ in found]), np.concatenate([scores for _, scores in found])

    def _maps(self, canvas: np.ndarray, path: Path | None = None) -> list[np.ndarray]:
        """The two maps, the finer first; with `path`, raises a `UserError` if the file has other outputs."""
        try:
            outputs = [value[0] for value in self._run(canvas[None]).values()]
        except Exception:  # the runtimes raise errors of any type
            outputs = []
        maps = sorted(outputs, key=lambda value: -value.shape[0])
        cells = [self.size // level.stride for level in LEVELS]
        if [m.shape for m in maps] != [(n, n, CHANNELS) for n in cells]:
            raise UserError(f"{path or 'the file'} does not run as a finder")
        return maps


def _open(path: Path) -> Run:
    """Open a `.tflite` in LiteRT, a `.onnx` in OpenCV; without LiteRT, the `.onnx` beside a `.tflite`."""
    other = path.with_suffix(".onnx")
    if path.suffix != ".onnx" and (importlib.util.find_spec("ai_edge_litert") or not other.is_file()):
        return open_runtime(path, min(2, os.cpu_count() or 1))
    try:
        net = cv2.dnn.readNetFromONNX(str(other))
        names = net.getUnconnectedOutLayersNames()
    except cv2.error:
        raise UserError(f"{other} does not load") from None

    alone = threading.Lock()

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        with alone:
            net.setInput(np.ascontiguousarray(batch, np.float32))
            return dict(zip(names, net.forward(names), strict=True))

    return run


def _shares_a_centre(one: Detection, other: Detection) -> bool:
    """Whether the centre of either box lies inside the other."""
    apart = max(abs(one.box[i] + one.box[i + 2] / 2 - other.box[i] - other.box[i + 2] / 2) for i in (0, 1))
    return apart < max(one.box[2], other.box[2]) / 2


def _has_contrast(image: np.ndarray, face: Detection) -> bool:
    """Whether the grey levels of about 32 × 32 pixels in a face's box vary as those of a face do."""
    x, y, side, _ = face.box
    step = max(1, int(side / 32))
    inside = image[max(0, int(y)) : max(0, int(y + side)) : step, max(0, int(x)) : max(0, int(x + side)) : step]
    if not inside.size:
        return False
    grey = inside.mean(axis=2)
    mean = float(grey.mean())
    return float(grey.std()) >= max(LEAST_CONTRAST, CONTRAST * min(mean, 255 - mean))


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    """Halve repeatedly, then interpolate: as good as area averaging here, in less than half the time."""
    width, height = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:  # the mean of each block of 2 × 2 pixels
        half = image.shape[1] // 2, image.shape[0] // 2
        image = cv2.resize(image, half, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _scales(level: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The scales of x and y, (2,), of a resized image."""
    return np.array(level.shape[1::-1]) / image.shape[1::-1]


def _starts(length: int, tile: int) -> list[int]:
    """Start positions of tiles that cover `length` pixels and overlap by at least `OF_TILES`."""
    if length <= tile:
        return [0]
    count = int(np.ceil((length - tile) / (tile - OF_TILES))) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]
