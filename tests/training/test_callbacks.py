"""What is written between the epochs of a training, and when."""

import keras
import pytest

from kd_loss.system.errors import UserError
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


def test_a_diverged_training_stops_with_one_line(tmp_path):
    callback = Checkpoint(tmp_path, lambda logs: None, None)
    with pytest.raises(UserError, match="diverged in epoch 3"):
        callback.on_epoch_end(2, {"loss": float("nan")})
