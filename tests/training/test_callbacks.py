"""What is written between the epochs of a training, and when."""

import keras
import pytest

from kd_loss.system.errors import UserError
from kd_loss.training.callbacks import Checkpoint, Estimate


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


def test_a_diverged_training_stops_with_one_line(tmp_path):
    callback = Checkpoint(tmp_path, lambda logs: None, None)
    with pytest.raises(UserError, match=r"diverged in epoch 3 \(loss nan, margin 12.5\); train again"):
        callback.on_epoch_end(2, {"loss": float("nan"), "margin": 12.5})


class _Clock:
    """A clock that a test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def estimate(epochs, steps, seconds_a_step, begun=0):
    """What `Estimate` tells of a training whose first epochs are done."""
    clock, told = _Clock(), []
    callback = Estimate(told.append, clock)
    callback.set_params({"epochs": epochs, "steps": steps})
    for epoch in range(begun, min(epochs, begun + 3)):
        callback.on_epoch_begin(epoch)
        for batch in range(steps):
            clock.now += 30.0 if epoch == begun and batch == 0 else seconds_a_step  # the first one compiles
            callback.on_train_batch_end(batch)
    return told


def test_the_time_of_a_training_is_told_once_after_its_first_steps():
    # 150 epochs of 100 steps of a second: 18 steps are done when 15 have been measured
    assert estimate(150, 100, 1.0) == [
        "about 4 h 10 min for 150 epochs of 100 steps, without validation (measured on 15 steps)"
    ]
    assert estimate(150, 100, 1.0, begun=149) == [
        "about 82 s for 1 epoch of 100 steps, without validation (measured on 15 steps)"
    ]
    assert estimate(10, 10, 2.0)[0].startswith("about 3 min for 9 epochs")  # measured from one epoch into the next
    assert estimate(10, 10, 0.1) == []  # soon over
