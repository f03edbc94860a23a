"""The same training by command, by `kd_loss.Distiller` and by a loop written by hand: weights and seconds.

    kd-loss prepare --dataset synthetic --size 64
    python -m tools.speed.three_ways --data data --rounds 3

The ways take turns, so that a machine whose speed drifts is fair to all; the first epoch, which traces, does not count.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kd_loss
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import holdout
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.evaluation.report import print_table
from kd_loss.networks import Card, build_network
from kd_loss.runs.folder import find_teacher
from kd_loss.runs.history import read_history
from kd_loss.training.callbacks import EpochCounter
from kd_loss.training.fit import learning_rate
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.precise_batch_norm import PreciseBatchNorm
from kd_loss.training.train_student import train_student
from kd_loss.training.train_teachers import train_teachers

#: weights of the student after its last epoch, and the seconds of each epoch
Outcome = tuple[list[np.ndarray], list[float]]


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch, up to the end of the callbacks before this one."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self._start)


def by_command(options: StudentOptions) -> Outcome:
    """`kd-loss train-student` with live teachers."""
    run = train_student(dataclasses.replace(options, name="command"))
    seconds = [row["seconds"] for row in read_history(run / "history.csv")]
    return kd_loss.load_network(run / "last.h5").model.get_weights(), seconds


def _parts(options: StudentOptions) -> tuple[Any, ...]:
    """What both other ways begin with: scheme, faces, student, teachers, optimizer, statistics."""
    dataset = kd_loss.open_dataset(options.dataset, options.data)
    split = dataset.split("train")
    chosen, _ = holdout(split, options.validation, options.seed)
    order = FaceSampler(split, chosen, shuffled=True, seed=options.seed)
    faces = FaceLoader(order, CropTransform(options.size, Augmentation()), batch_size=options.batch_size)
    card = Card(options.arch, 1.0, options.dataset, dataset.scheme.to_dict(), options.size, "student", 0.15)
    student = build_network(card, mean_shape=np.nanmean(split.landmarks[chosen], axis=0), seed=options.seed)
    teachers = {
        role: kd_loss.load_network(find_teacher(role, options.dataset, "", options.runs))
        for role in ("tough", "tolerant")
    }
    optimizer = keras.optimizers.Adam(learning_rate(options.learning_rate, len(faces) * options.epochs))
    return dataset.scheme, faces, student, teachers, optimizer, PreciseBatchNorm(student.model, faces)


def by_objects(options: StudentOptions) -> Outcome:
    """`kd_loss.Distiller` on the loader, with the schedule and the two callbacks that the command adds."""
    scheme, faces, student, teachers, optimizer, statistics = _parts(options)
    distiller = kd_loss.Distiller(student=student, teachers=teachers, methods=[kd_loss.methods.KDLoss()], scheme=scheme)
    distiller.compile(optimizer)
    clock = Clock()
    with fused_batch_normalization():
        callbacks = [EpochCounter(faces), statistics, clock]
        distiller.fit(faces, epochs=options.epochs, shuffle=False, callbacks=callbacks, verbose=0)
    return student.model.get_weights(), clock.seconds


def by_hand(options: StudentOptions) -> Outcome:
    """A gradient tape and `kd_loss.losses` (TensorFlow)."""
    import tensorflow as tf

    _, faces, student, teachers, optimizer, statistics = _parts(options)
    model, tough, tolerant = student.model, teachers["tough"].model, teachers["tolerant"].model
    weights = kd_loss.methods.KDLoss().weights_of_terms

    @tf.function
    def step(images: Any, truth: Any) -> None:
        images = tf.cast(images, "float32")
        with tf.GradientTape() as tape:
            answers = tough(images, training=False), tolerant(images, training=False)
            terms = kd_loss.losses.kd_loss_terms(truth, model(images, training=True), *answers)
            loss = sum(weights[name] * tf.reduce_sum(values) / options.batch_size for name, values in terms.items())
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    seconds = []
    with fused_batch_normalization():
        for epoch in range(options.epochs):
            start = time.perf_counter()
            faces.epoch = epoch
            for number in range(len(faces)):
                images, targets = faces[number]
                step(images, targets["landmarks"])
            statistics.update()
            seconds.append(time.perf_counter() - start)
    return model.get_weights(), seconds


WAYS: dict[str, Callable[[StudentOptions], Outcome]] = {
    "command": by_command,
    "objects": by_objects,
    "hand": by_hand,
}


def difference(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """The largest difference between two lists of weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def main() -> None:
    """Train two teachers for one epoch, then the student by each way in turn; print seconds and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--arch", default="mobileNetV2")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {"dataset": args.dataset, "data": args.data, "runs": Path(folder), "arch": args.arch}
        common |= {"size": args.size, "head": "pooled", "validation": 0.0}
        train_teachers(TeacherOptions(epochs=1, **common))
        options = StudentOptions(epochs=args.epochs, teacher_mode="live", **common)
        for _ in range(args.rounds):
            weights = {}
            for way, train in WAYS.items():
                keras.backend.clear_session()
                weights[way], epochs = train(options)
                seconds[way] += epochs[1:]
            shutil.rmtree(Path(folder, args.dataset, "command"))
    rows = [
        [
            way,
            *(f"{value:.2f}" for value in np.quantile(seconds[way], [0, 0.5, 1])),
            f"{np.median(seconds[way]) / np.median(seconds['hand']):.3f}",
            f"{difference(weights[way], weights['command']):.1e}",
        ]
        for way in WAYS
    ]
    header = ["way", "s an epoch: least", "median", "most", "median / by hand", "weights differ from the command's by"]
    print_table(f"{args.arch}, {args.size} px, {args.rounds} rounds", header, rows, turned=False, width=120)


if __name__ == "__main__":
    main()
