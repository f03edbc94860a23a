"""The fit of every training: state, best and last network, log and curves; a stopped run resumes where it stopped."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import keras

from kd_loss.system.errors import disk_error
from kd_loss.system.files import write_json
from kd_loss.training.callbacks import (
    Checkpoint,
    EpochCounter,
    Estimate,
    LiveCurves,
    OrderedProgress,
    Patience,
    draw,
    event_files,
    stalled,
)
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from kd_loss.training.precise_batch_norm import PreciseBatchNorm

log = logging.getLogger(__name__)

Note = Callable[[str], None]


def learning_rate(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a twentieth of the steps (at most 500), then half a cosine down to 1 % of the peak.

    A schedule of the optimizer, not a callback: the rate follows from the optimizer's own step count,
    so a resumed run has the right rate.
    """
    warmup = min(500, max(1, steps // 20))
    return keras.optimizers.schedules.CosineDecay(
        peak * 0.01, max(1, steps - warmup), alpha=0.01, warmup_target=peak, warmup_steps=warmup
    )


def compile_with_adam(
    model: keras.Model, peak: float, steps: int, *, clip: float | None = None, **options: Any
) -> None:
    """Compile with Adam and the schedule `learning_rate`; builds the optimizer's state so that it can be restored.

    Args:
        model: the model to compile.
        peak: highest learning rate of the schedule.
        steps: number of training steps, over which the schedule runs.
        clip: largest global norm of the gradients; None: no clipping.
        **options: further arguments of the model's `compile`.
    """
    model.compile(keras.optimizers.Adam(learning_rate(peak, steps), global_clipnorm=clip), **options)
    model.optimizer.build(model.trainable_variables)


def run_log(folder: Path) -> Note:
    """A function that logs a line and appends it to the run's `log.txt`, with the time."""

    def note(line: str) -> None:
        try:
            with (folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        except OSError as error:
            raise disk_error(error, folder) from None
        log.info(line)

    return note


def fit_run(
    model: keras.Model,
    network: keras.Model,
    loader: Any,
    validation: Any,
    folder: Path,
    *,
    epochs: int,
    patience: int,
    resume: bool,
    save_best: Callable[[dict[str, float]], None],
    save_last: Callable[[], None],
    note: Note,
    opening: Sequence[str],
    monitor: str,
    order: Sequence[str],
    pictures: Any = None,
    state_from: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
) -> Checkpoint:
    """Train a model in a run folder that `open_run` has opened; a finished run is not trained again.

    Writes `history.csv`, `state.npz` to resume from, `tensorboard/`, `curves.png` and `finished.json`.

    Args:
        model: compiled and built; its `fit` is called.
        network: the part that is saved; its batch statistics are recomputed before validation and saving.
        loader: training data, with an attribute `epoch`.
        validation: held-out data, or None.
        folder: the run folder, opened by `open_run`.
        epochs: passes over the data.
        patience: epochs without improvement after which training stops; 0: never.
        resume: continue from the state in the run folder.
        save_best: called with the logs of each epoch that is the best so far.
        save_last: called once, after the training.
        note: takes the messages, see `run_log`.
        opening: lines to say before the training; epochs done before are added to the last one.
        monitor: the value of `validation` to minimise.
        order: order of the terms and metrics in history and progress.
        pictures: data for the batch statistics; default: the loader.
        state_from: folder of the state to resume from; default: `folder`.
        callbacks: Keras callbacks; they run before those that save.
        quiet: show no progress and draw no curves during training, as in all processes but the first.

    Returns:
        The checkpoint, with `best`, the smallest monitored value, and `history`.
    """
    checkpoint = Checkpoint(folder, save_best, monitor if validation is not None else None)
    checkpoint.order = list(order)
    done = checkpoint.restore(model, state_from) if resume else 0
    *first, last = opening
    for line in (*first, last + (f"; {done} epochs done before" if done else "")):
        note(line)
    if done < epochs and not stalled(checkpoint.history, patience, checkpoint.monitor):
        verbose = 0 if quiet or not log.isEnabledFor(logging.INFO) else 1 if sys.stdout.isatty() else 2
        with fused_batch_normalization() as replaced:
            if replaced:
                note(replaced)
            model.fit(
                loader,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=done,
                shuffle=False,
                callbacks=[
                    EpochCounter(loader),
                    PreciseBatchNorm(network, loader if pictures is None else pictures),
                    *event_files(folder),
                    *callbacks,
                    checkpoint,
                    *([] if quiet else [Estimate(note), LiveCurves(checkpoint, folder / "curves.png")]),
                    Patience(checkpoint, patience),
                    *([OrderedProgress(order)] if verbose else []),
                ],
                verbose=verbose,
            )
        save_last()
    draw(folder / "curves.png", checkpoint.history)
    write_json(folder / "finished.json", {"epochs": len(checkpoint.history), "best": checkpoint.best})
    if stalled(checkpoint.history, patience, checkpoint.monitor):
        note(f"stopped after epoch {len(checkpoint.history)}: no better one in {patience}")
    return checkpoint
