"""What is written between the epochs of a training, and when."""

import keras
import numpy as np
import pytest

from kd_loss.errors import UserError
from kd_loss.training import callbacks
from kd_loss.training.callbacks import Checkpoint


def test_the_best_value_survives_resuming(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    saved: list[float] = []

    def checkpoint():
        callback = Checkpoint(tmp_path, lambda logs: saved.append(logs["val_nme"]), "val_nme")
        callback.set_model(model)
        return callback

    first = checkpoint()
    first.on_epoch_end(0, {"val_nme": 5.0})
    second = checkpoint()
    assert second.restore(model) == 1
    second.on_epoch_end(1, {"val_nme": 6.0})
    second.on_epoch_end(2, {"val_nme": 4.0})
    assert saved == [5.0, 4.0]


def test_short_epochs_are_not_written_one_by_one(tmp_path, monkeypatch):
    """The first is, and then as often as the share allows; the best weights wait in memory."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    kernel, clock, saved = model.trainable_variables[0], [0.0], []

    def reading():
        clock[0] += 1.0
        return clock[0]

    def save(logs):
        saved.append((logs["val_nme"], float(np.squeeze(kernel))))

    monkeypatch.setattr(callbacks.time, "perf_counter", reading)
    callback = Checkpoint(tmp_path, save, "val_nme", [model])
    callback.set_model(model)
    for epoch, error in enumerate([5.0, 3.0, 4.0]):  # a clock that moves by 1 between two readings: one in 20 is due
        kernel.assign([[float(epoch)]])
        callback.on_epoch_end(epoch, {"val_nme": error})
    assert saved == [(5.0, 0.0)]
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 4
    again = Checkpoint(tmp_path, save, "val_nme", [model])
    assert again.restore(model) == 1  # what a run that is killed now goes on from
    kernel.assign([[2.0]])
    callback.on_train_end()
    assert saved == [(5.0, 0.0), (3.0, 1.0)]
    assert float(np.squeeze(kernel)) == 2.0  # the training's own weights are back
    assert (Checkpoint(tmp_path, save, "val_nme").restore(model), float(np.squeeze(kernel))) == (3, 2.0)
    # what is best so far is not lost where the next epoch diverges
    kernel.assign([[7.0]])
    callback.on_epoch_end(3, {"val_nme": 1.0})
    with pytest.raises(UserError, match="diverged in epoch 5"):
        callback.on_epoch_end(4, {"val_nme": float("nan")})
    assert saved[2:] == [(1.0, 7.0)]


def test_a_diverged_training_stops_with_one_line(tmp_path):
    callback = Checkpoint(tmp_path, lambda logs: None, None)
    with pytest.raises(UserError, match="diverged in epoch 3"):
        callback.on_epoch_end(2, {"loss": float("nan")})
