"""Callbacks that run between the epochs of a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.runs.history import history_plot, in_order, write_history
from kd_loss.runs.state import load_state, save_state
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file
from kd_loss.system.terminal import counted, duration


def event_files(folder: Path) -> list[keras.callbacks.Callback]:
    """Event files of the curves, for TensorBoard; none where TensorFlow, which writes them, is not the backend."""
    if keras.backend.backend() != "tensorflow":
        return []
    from tensorflow.errors import OpError

    place = folder / "tensorboard"

    class EventFiles(keras.callbacks.TensorBoard):
        """TensorBoard's callback, which handles TensorFlow's own errors for a full disk."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            try:
                super().on_epoch_end(epoch, logs)
            except OpError as error:
                reason = error.message.partition("\n")[0].rpartition("; ")[2]
                raise UserError(f"cannot write {place}: {reason}") from None

    return [EventFiles(str(place), write_graph=False)]


class EpochCounter(keras.callbacks.Callback):
    """Sets the loader's epoch number before Keras reads the first batch."""

    def __init__(self, loader: FaceLoader | MixedLoader):
        super().__init__()
        self.loader = loader

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.loader.epoch = epoch


class Checkpoint(keras.callbacks.Callback):
    """Saves the best network, the history and the state to resume from after every epoch.

    The best value so far is part of the state, so that a resumed run does not take a worse epoch for
    the best one. Order matters: the state is written last, so that a run killed in between repeats
    the epoch.

    Args:
        folder: run folder.
        save_best: saves the student as the best one; called with the epoch's logs.
        monitor: the value to minimise; None: every epoch is the best so far.

    Attributes:
        order: order of the columns of the history.
    """

    def __init__(self, folder: Path, save_best: Callable[[dict[str, float]], None], monitor: str | None):
        super().__init__()
        self.folder, self.save_best, self.monitor = folder, save_best, monitor
        self.order: list[str] = []
        self.best: float | None = None
        self.history: list[dict[str, float]] = []
        self._start = 0.0

    @property
    def state_file(self) -> Path:
        """Path of the state to resume from."""
        return self.folder / "state.npz"

    def restore(self, model: keras.Model, folder: Path | None = None) -> int:
        """Resume from the state of `folder` (default: its own), if there is one; returns the number of epochs done."""
        state = (folder or self.folder) / self.state_file.name
        if not state.is_file():
            return 0
        record = load_state(state, model)
        self.best, self.history = record["best"], record["history"]
        return len(self.history)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        if not all(value == value and abs(value) != float("inf") for value in values.values()):
            told = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            raise UserError(
                f"the training diverged in epoch {epoch + 1} ({told}); train again with a lower --learning-rate"
            )
        current = values[self.monitor] if self.monitor else None
        if current is None or self.best is None or current < self.best:
            self.best = current
            self.save_best(values)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values = {**in_order(values, self.order), "learning_rate": rate}  # the rate of the next step
        row = {"epoch": epoch + 1, **values, "seconds": time.perf_counter() - self._start}
        self.history.append(row)
        write_history(self.folder / "history.csv", self.history)
        save_state(self.state_file, self.model, best=self.best, history=self.history)


class Estimate(keras.callbacks.Callback):
    """Tells once, after the first steps, how long the training takes; says nothing of one that is soon over.

    Args:
        note: takes the message.
        clock: seconds; for tests.
    """

    #: steps that do not count, since they compile; steps and seconds to measure, whichever is reached first
    SKIPPED, STEPS, SECONDS = 3, 20, 15.0
    #: shorter trainings are not announced
    SHORTEST = 60.0

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float] = time.perf_counter):
        super().__init__()
        self.note, self.clock = note, clock
        self._seen, self._start, self._epoch = 0, 0.0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._seen += 1
        if self._seen == self.SKIPPED:
            self._start = self.clock()
        done = self._seen - self.SKIPPED
        if done < 1 or self._start < 0 or not self.params.get("steps"):
            return
        taken = self.clock() - self._start
        if done < self.STEPS and taken < self.SECONDS:
            return
        self._start = -1.0
        epochs = self.params["epochs"] - self._epoch
        left = epochs * self.params["steps"] - batch - 1
        if taken / done * left >= self.SHORTEST:
            whole = f"{counted(epochs, 'epoch')} of {counted(self.params['steps'], 'step')}"
            self.note(
                f"about {duration(taken / done * left)} for {whole}, without validation (measured on {done} steps)"
            )


#: largest share of a training's time that drawing the curves may take
SHARE = 0.02


class OrderedProgress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with the terms in the order of the objective; Keras sorts them by name."""

    def __init__(self, order: Sequence[str]):
        super().__init__()
        self.order = list(order)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, in_order(logs or {}, self.order))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, in_order(logs or {}, self.order))


def stalled(history: Sequence[Mapping[str, float]], patience: int, monitor: str | None = "val_nme") -> bool:
    """Whether none of the last `patience` epochs of a history improved on the best before; `patience` 0: never.

    `monitor` is the column to compare; None, for a training without held-out faces: never.

    It depends on the history alone, so a resumed run stops where an uninterrupted one does.

    >>> epochs = [{"val_nme": 9.0}, {"val_nme": 7.0}, {"val_nme": 8.0}, {"val_nme": 7.0}]
    >>> stalled(epochs, 2), stalled(epochs, 3), stalled(epochs[:3], 2)
    (True, False, False)
    """
    if not patience or monitor is None:
        return False
    errors = [row[monitor] for row in history]
    return bool(errors and len(errors) - 1 - errors.index(min(errors)) >= patience)


class Patience(keras.callbacks.Callback):
    """Stops a stalled training; it must follow the callback that saves."""

    def __init__(self, checkpoint: Checkpoint, patience: int):
        super().__init__()
        self.checkpoint, self.patience = checkpoint, patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if stalled(self.checkpoint.history, self.patience, self.checkpoint.monitor):
            self.model.stop_training = True


class LiveCurves(keras.callbacks.Callback):
    """Draws `curves.png` after an epoch; it must follow the callback that saves.

    It draws after every epoch, unless epochs are so short that drawing would take more than `SHARE` of the time.
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
