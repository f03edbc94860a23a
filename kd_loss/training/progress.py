"""What is seen of a training while it runs, and whether it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kd_loss.system.files import atomic_file
from kd_loss.training.callbacks import Checkpoint
from kd_loss.training.history import history_plot, in_order

#: drawing the curves takes at most this share of a training's time
SHARE = 0.02


class OrderedProgress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with the terms as the objective has them; Keras sorts them by name."""

    def __init__(self, order: Sequence[str]):
        super().__init__()
        self.order = list(order)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, in_order(logs or {}, self.order))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, in_order(logs or {}, self.order))


def stalled(history: Sequence[Mapping[str, float]], patience: int, monitor: str | None = "val_nme") -> bool:
    """Whether the last `patience` epochs of a history were none better than the best before; 0: never.

    `monitor` is the column that counts; None, of a training without faces held out: never.

    It follows from the history alone, so that a resumed run stops where one that was not interrupted does.

    >>> epochs = [{"val_nme": 9.0}, {"val_nme": 7.0}, {"val_nme": 8.0}, {"val_nme": 7.0}]
    >>> stalled(epochs, 2), stalled(epochs, 3), stalled(epochs[:3], 2)
    (True, False, False)
    """
    if not patience or monitor is None:
        return False
    errors = [row[monitor] for row in history]
    return bool(errors and len(errors) - 1 - errors.index(min(errors)) >= patience)


class Patience(keras.callbacks.Callback):
    """Ends a training that has stalled; it goes behind the callback that saves."""

    def __init__(self, checkpoint: Checkpoint, patience: int):
        super().__init__()
        self.checkpoint, self.patience = checkpoint, patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if stalled(self.checkpoint.history, self.patience, self.checkpoint.monitor):
            self.model.stop_training = True


class LiveCurves(keras.callbacks.Callback):
    """Draws `curves.png` after an epoch, behind the callback that saves.

    After every one, unless epochs are so short that drawing would take more than `SHARE` of the time.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path):
        super().__init__()
        self.checkpoint, self.path = checkpoint, path
        self._not_before = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        start = time.perf_counter()
        if start < self._not_before:
            return
        draw(self.path, self.checkpoint.history)
        end = time.perf_counter()
        self._not_before = end + (end - start) / SHARE


def draw(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """The curves of a history as a PNG file."""
    with atomic_file(path) as picture:
        picture.write_bytes(history_plot(history))
