"""Photographs of anything in which a finder sees faces are shown to it more often."""

from __future__ import annotations

import cv2
import keras
import numpy as np

from kd_loss.detection.base import merge_boxes, shrink, square_at
from kd_loss.detection.finder import SAME
from kd_loss.detection.finder_format import LEVELS, decode
from tools.finder.compose import Composer
from tools.finder.faces import FacePicture, rescale
from tools.finder.measure import matches

#: score from which a box counts, how much it adds to a photograph's weight of 1, and the largest weight
SEEN, ADDS, MOST = 0.3, 2.0, 9.0
#: epochs from one look at the photographs to the next
EVERY = 5


def false_boxes(model: keras.Model, pictures: list[FacePicture], size: int) -> np.ndarray:
    """For each image (N,) the number of boxes that are neither a face nor what may be one."""
    counts = []
    for start in range(0, len(pictures), 16):
        batch = np.zeros((len(pictures[start : start + 16]), size, size, 3), np.float32)
        scales = []
        for canvas, picture in zip(batch, pictures[start : start + 16], strict=True):
            small, scale = shrink(picture.image, size)
            if scale == 1:
                scale = size / max(small.shape[:2])
                small = cv2.resize(small, None, fx=scale, fy=scale)[:size, :size]
            canvas[: small.shape[0], : small.shape[1]] = small
            scales.append(scale)
        maps = [np.asarray(values) for values in model.predict_on_batch(batch)]
        for number, scale in enumerate(scales):
            picture = pictures[start + number]
            known = [*rescale(picture.faces, scale), *rescale(picture.unsure, scale)]
            parts = [
                decode(values[number], level, float(np.log(SEEN / (1 - SEEN))))
                for values, level in zip(maps, LEVELS, strict=True)
            ]
            boxes, scores = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
            found = [square_at(box[:2] + box[2:] / 2, box[2], score) for box, score in merge_boxes(boxes, scores, SAME)]
            counts.append(sum(not any(matches(face, row) for row in known) for face in found))
    return np.array(counts)


class Mining(keras.callbacks.Callback):
    """Gives the photographs of a composer weights by what the network takes for faces in them."""

    def __init__(self, composer: Composer):
        super().__init__()
        self.composer = composer

    def on_train_begin(self, logs: object = None) -> None:
        """Look before the first epoch."""
        self.look()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Look at every photograph."""
        if (epoch + 1) % EVERY == 0:
            self.look()

    def look(self) -> None:
        """Look now."""
        counts = false_boxes(self.model, list(self.composer.backgrounds), self.composer.size)
        weights = np.minimum(1 + ADDS * counts, MOST)
        self.composer.background_shares = weights / weights.sum()
        print(f"{int(counts.sum())} false boxes in {len(counts)} photographs", flush=True)
