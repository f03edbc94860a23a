"""What a finder should answer, cell by cell, and how wrong an answer is."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.detection.finder_format import CHANNELS, LEVELS, Level
from tools.finder.compose import Composer

#: numbers of a target cell: score, its weight, weight of the box, side / unit, the channels from 1 on, which are known
TARGETS = 4 + 2 * (CHANNELS - 1)
#: in sides: a cell nearer to a face's centre answers for the face, one a little farther off is ignored
NEAR, ASIDE = 0.13, 0.30


def make_targets(faces: np.ndarray, unsure: np.ndarray, level: Level, size: int) -> np.ndarray:
    """Targets (H, W, 30) of one map of an image with the faces (N, 13) and what may be faces (M, 3).

    The nearest cell and those within `NEAR` of a face's centre answer for it; cells within `ASIDE`, cells near the
    centre of what may be a face, and those of faces just out of the map's sizes are ignored.
    """
    centres = level.centres(size)
    target = np.zeros((*centres.shape[:2], TARGETS), np.float32)
    target[..., 1] = 1
    for row in unsure:
        target[_within(centres, row, ASIDE + 0.1), 1] = 0
    for row in faces:
        if row[2] < 0.6 * level.smallest or row[2] > 1.7 * level.largest:
            if row[2] < 0.6 * LEVELS[0].smallest:  # too small for any map: it may be seen, it need not
                target[_within(centres, row, ASIDE), 1] = 0
            continue
        target[_within(centres, row, ASIDE), 1] = 0
    for row in sorted(faces, key=lambda face: -face[2]):
        if level.smallest <= row[2] <= level.largest:
            cells = _within(centres, row, NEAR)
            target[cells, :3] = 1
            target[cells, 3] = row[2] / level.unit
            values = np.concatenate([row[:2], row[2:3], row[3:]])
            known = np.isfinite(values)
            from_cell = np.zeros((int(cells.sum()), CHANNELS - 1), np.float32)
            where = centres[cells]
            from_cell[:, :2] = (row[:2] - where) / level.unit
            from_cell[:, 2] = np.log(row[2] / level.unit)
            points = (row[3:].reshape(1, 5, 2) - where[:, None]) / level.unit
            from_cell[:, 3:] = np.nan_to_num(points.reshape(len(where), 10))
            target[cells, 4 : 3 + CHANNELS] = from_cell
            target[cells, 3 + CHANNELS :] = known
    return target


def _within(centres: np.ndarray, row: np.ndarray, part: float) -> np.ndarray:
    """The cells (H, W) within `part` sides of a face's centre, the nearest one among them."""
    distance = np.linalg.norm(centres - row[:2], axis=-1)
    near = distance <= part * row[2]
    near[np.unravel_index(distance.argmin(), distance.shape)] = True
    return near


@keras.saving.register_keras_serializable(package="kd_loss")
class FinderLoss(keras.losses.Loss):
    """Focal loss of the scores and the distance of boxes and points in parts of the face's side.

        L = (Σ w · −(1 − p)^2 log p  +  Σ_face a · |answer − truth| / side) / number of answering cells

    with p the probability of the right answer (Lin et al., ICCV 2017, focal loss), w half as large in cells that show
    no face, and the logarithm of the side compared as it is. The number is that of the batch, so that the batch's mean
    is what is wanted.

    Call: `y_true` (B, H, W, 30) of `make_targets`, `y_pred` (B, H, W, 14) -> (B,) in training, its mean.

    Args:
        box: weight of centre and side; points: of the five points.
    """

    def __init__(self, box: float = 2.0, points: float = 1.0, **options: Any):
        super().__init__(**{"name": "finder_loss", "reduction": "sum_over_batch_size", **options})
        self.box, self.points = box, points

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """See the class."""
        score, weight, answers, side = (y_true[..., i] for i in range(4))
        logit = y_pred[..., 0]
        signed = ops.where(score > 0.5, logit, -logit)
        focal = weight * ops.square(ops.sigmoid(-signed)) * ops.softplus(-signed)
        focal = ops.where(score > 0.5, focal, 0.5 * focal)
        wrong = ops.abs(y_pred[..., 1:] - y_true[..., 4 : 3 + CHANNELS]) * y_true[..., 3 + CHANNELS :]
        size = ops.maximum(side, 1e-3)
        centre = ops.sum(wrong[..., :2], axis=-1) / size
        points = ops.sum(wrong[..., 3:], axis=-1) / size / 5
        boxes = answers * (self.box * (centre + wrong[..., 2]) + self.points * points)
        count = ops.maximum(ops.sum(answers), 1.0)
        batch = ops.cast(ops.shape(y_true)[0], "float32")
        return ops.sum(focal + boxes, axis=(1, 2)) * batch / count

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "box": self.box, "points": self.points}


class ComposedPictures(keras.utils.PyDataset):
    """Batches of composed images with their targets, new ones in every epoch.

    Image `i` of epoch `e` follows from (seed, e, i) alone.
    """

    def __init__(self, composer: Composer, batches: int, batch_size: int, seed: int, workers: int = 1):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.composer, self.batches, self.batch_size, self.seed, self.epoch = composer, batches, batch_size, seed, 0

    def __len__(self) -> int:
        return self.batches

    def on_epoch_end(self) -> None:
        """The next epoch has other images."""
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        rows = []
        for i in range(self.batch_size):
            image, faces, unsure = self.composer(np.random.default_rng((self.seed, self.epoch, index, i)))
            rows.append((image, *(make_targets(faces, unsure, level, self.composer.size) for level in LEVELS)))
        images, *targets = (np.stack(column) for column in zip(*rows, strict=True))
        return images, tuple(targets)
