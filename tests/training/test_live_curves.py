"""What is seen of a training while it runs: order of the terms, learning rate, curves; early stopping."""

import dataclasses
import logging
from itertools import pairwise
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest

from kd_loss.runs.folder import differences
from kd_loss.runs.history import read_history, write_history
from kd_loss.system.errors import UserError
from kd_loss.training import callbacks as progress
from kd_loss.training.callbacks import LiveCurves, OrderedProgress
from kd_loss.training.fit import learning_rate
from kd_loss.training.options import StudentOptions, checked
from kd_loss.training.train_student import train_student


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    return StudentOptions(
        dataset="synthetic", arch="tiny", method=["none"], head="pooled", batch_size=8, alpha=0.5, size=32,
        validation=0.2, data=data_folder, runs=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip


class Seen(keras.callbacks.Callback):
    """Which epochs found the curves of the one before."""

    def __init__(self, folder):
        super().__init__()
        self.file, self.epochs = folder / "curves.png", []

    def on_epoch_begin(self, epoch, logs=None):
        if self.file.is_file() and cv2.imread(str(self.file)) is not None:
            self.epochs.append(epoch)


def test_rate_columns_and_curves_of_a_training(options, monkeypatch):
    monkeypatch.setattr(progress, "SHARE", 1e9)  # however short the epochs are
    seen = Seen(options.runs / "synthetic" / "watched")
    folder = train_student(dataclasses.replace(options, name="watched", epochs=3), callbacks=[seen])
    rows = read_history(folder / "history.csv")
    assert list(rows[0]) == ["epoch", "loss", "main", "nme", "val_loss", "val_nme", "learning_rate", "seconds"]
    schedule = learning_rate(options.learning_rate, 3 * 4)  # 32 faces in batches of 8
    for epoch, row in enumerate(rows, 1):
        assert row["learning_rate"] == pytest.approx(float(schedule(4 * epoch)), rel=1e-5)
    assert seen.epochs == [1, 2]


def test_early_stopping_and_what_resuming_makes_of_it(options, caplog):
    """Next to nothing is learned, so that an epoch is better or worse by chance."""
    caplog.set_level(logging.INFO, "kd_loss")
    chosen = dataclasses.replace(options, name="stopped", epochs=40, learning_rate=1e-9, patience=3)
    folder = train_student(chosen)
    rows = read_history(folder / "history.csv")
    errors = [row["val_nme"] for row in rows]
    assert len(rows) < 40
    assert np.argmin(errors) == len(rows) - 4
    assert f"stopped after epoch {len(rows)}: no better one in 3" in caplog.messages
    before = (folder / "last.h5").stat().st_mtime_ns
    train_student(dataclasses.replace(chosen, resume=True))
    assert read_history(folder / "history.csv") == rows
    assert (folder / "last.h5").stat().st_mtime_ns == before


def test_patience_needs_faces_held_out():
    with pytest.raises(UserError, match="give a --validation above 0"):
        checked(StudentOptions(patience=3, validation=0))
    with pytest.raises(UserError, match="--patience -1 is out of range"):
        checked(StudentOptions(patience=-1))
    assert differences({}, {"patience": 0}) == []  # of a version that had none
    assert differences({}, {"patience": 2}) == ["patience was 0, now 2"]


def test_the_progress_bar_has_the_order_of_the_objective(capsys):
    bar = OrderedProgress(["loss", "main", "tough", "nme"])
    bar.set_params({"verbose": 2, "epochs": 1, "steps": 1})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(0, {"loss": 1.0, "main": 2.0, "nme": 3.0, "tough": 4.0})
    bar.on_epoch_end(0, {"val_nme": 5.0, "nme": 3.0, "loss": 1.0, "tough": 4.0, "main": 2.0})
    line = capsys.readouterr().out
    places = [line.index(f" {name}: ") for name in ("loss", "main", "tough", "nme", "val_nme")]
    assert places == sorted(places)


def test_curves_of_short_epochs_are_drawn_seldom(tmp_path, monkeypatch):
    """Drawing takes 10 ms, an epoch 1 ms: at most a share of the time is spent on curves."""
    now, drawn = [0.0], []

    def draw(_path, _history):
        drawn.append(now[0])
        now[0] += 0.01

    monkeypatch.setattr(progress, "draw", draw)
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    curves = LiveCurves(type("Rows", (), {"history": []})(), tmp_path / "curves.png")
    for epoch in range(2000):
        curves.on_epoch_end(epoch)
        now[0] += 0.001
    wait = 0.01 / progress.SHARE
    assert len(drawn) == pytest.approx(2 / (0.01 + wait), abs=2)
    assert all(b - a >= 0.01 + wait for a, b in pairwise(drawn))


def test_a_history_with_a_new_column(tmp_path):
    rows = [{"epoch": 1, "nme": 5.0, "seconds": 2.0}, {"epoch": 2, "nme": 4.0, "rate": 1.0, "seconds": 2.5}]
    write_history(tmp_path / "history.csv", rows)
    assert (tmp_path / "history.csv").read_text().split() == [
        "epoch,nme,rate,seconds",
        "1,5.0,nan,2.0",
        "2,4.0,1.0,2.5",
    ]
