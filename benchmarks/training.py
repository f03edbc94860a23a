"""Speed of distillation: `python benchmarks/training.py [--json FILE] [--size 224] [--batch 16]`.

Images a second of one student under one roof: its bare `fit` on data in memory, distilled by recorded and by
live teachers, and the reference way. The ways take turns, so that a noisy machine disturbs all alike; ratios
are of the medians. Networks have random weights: only the time counts.

The reference way is written from its description: both teachers are asked by `predict_on_batch` for every
batch of every epoch, the student's step runs in eager mode, and pictures are read from files as it goes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import tensorflow as tf

from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import PreparedSplit, open_dataset
from kd_loss.datasets.spec import W300
from kd_loss.datasets.synthetic import draw_archive
from kd_loss.distillation import Distiller, LiveTeacher, RecordedTeacher, get_method, kd_loss_terms
from kd_loss.networks import Card, LandmarkNet, build_network
from kd_loss.training.acceleration import fused_batch_normalization

ROLES = ("tough", "tolerant")


def network(arch: str, size: int) -> LandmarkNet:
    """An untrained network."""
    role = "student" if arch == "mobileNetV2" else "tough"
    return build_network(Card(arch, 1.0, "synthetic", W300.to_dict(), size, role, 0.15), momentum=0.9)


class InMemory(keras.utils.PyDataset):
    """The batches of a loader, made beforehand."""

    def __init__(self, loader: FaceLoader):
        super().__init__()
        self.batches = [loader[i] for i in range(len(loader))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> object:
        return self.batches[index]


def ours(
    loader: keras.utils.PyDataset, size: int, teachers: dict, method: str, fused: bool = True
) -> Callable[[], None]:
    """An epoch of this package's training."""
    student = network("mobileNetV2", size)
    distiller = Distiller(student=student, methods={get_method(method): 1.0}, teachers=teachers, spec=W300)
    distiller.compile(optimizer="adam", jit_compile=False)

    def plain() -> None:
        distiller.fit(loader, verbose=0, shuffle=False)

    def accelerated() -> None:
        with fused_batch_normalization():
            distiller.fit(loader, verbose=0, shuffle=False)

    return accelerated if fused else plain


def bare(split: PreparedSplit, size: int, batch: int) -> Callable[[], None]:
    """Keras alone: `fit` of the student on pictures and landmarks in memory."""
    model = network("mobileNetV2", size).model
    model.compile(optimizer="adam", loss="mae", jit_compile=False)
    x, y = np.asarray(split.images, np.float32), np.asarray(split.landmarks)
    return lambda: model.fit(x, y, batch_size=batch, verbose=0)


def reference(split: PreparedSplit, size: int, batch: int, folder: Path) -> Callable[[], None]:
    """The reference way, see above."""
    student = network("mobileNetV2", size).model
    teachers = [network("efficientNet", size).model for _ in ROLES]
    optimizer = keras.optimizers.Adam(1e-3)
    for i, (image, points) in enumerate(zip(split.images, split.landmarks, strict=True)):
        cv2.imwrite(str(folder / f"{i}.jpg"), image[..., ::-1])
        np.save(folder / f"{i}.npy", points)

    def epoch() -> None:
        order = np.random.default_rng(0).permutation(len(split))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            images = np.stack([cv2.imread(str(folder / f"{i}.jpg"))[..., ::-1] for i in chosen]).astype(np.float32)
            truth = np.stack([np.load(folder / f"{i}.npy") for i in chosen])
            tough, tolerant = (teacher.predict_on_batch(images) for teacher in teachers)
            with tf.GradientTape() as tape:
                terms = kd_loss_terms(truth, student(images, training=True), tough, tolerant, variant="code")
                loss = tf.reduce_mean(2 * terms["main"] + terms["tough"] + terms["tolerant"])
            gradients = tape.gradient(loss, [v.value for v in student.trainable_variables])
            optimizer.apply(gradients, student.trainable_variables)

    return epoch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--faces", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    size, batch = options.size, options.batch
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(
            draw_archive("synthetic", options.faces, size, 0.15, 0),
            folder / "synthetic",
            size=size,
            tell=lambda _: None,
        )
        split = open_dataset("synthetic", folder).split("train")
        answers = {role: Answers({"landmarks": np.array(split.landmarks)[None] + 0.01}) for role in ROLES}
        common = {"size": size, "batch_size": batch, "augmentation": Augmentation()}
        faces = np.arange(len(split))
        plain, told = FaceLoader(split, faces, **common), FaceLoader(split, faces, answers=answers, **common)
        recorded = {role: RecordedTeacher(role, answers[role]) for role in ROLES}
        live = {role: LiveTeacher(network("efficientNet", size)) for role in ROLES}
        (folder / "files").mkdir()
        ways = {
            "bare fit, Keras": bare(split, size, batch),
            "student alone": ours(plain, size, {}, "none"),
            "recorded teachers": ours(told, size, recorded, "kd_loss"),
            "recorded teachers, batches in memory": ours(InMemory(told), size, recorded, "kd_loss"),
            "recorded teachers, Keras's batch norm": ours(told, size, recorded, "kd_loss", fused=False),
            "live teachers": ours(plain, size, live, "kd_loss"),
            "reference way": reference(split, size, batch, folder / "files"),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        count = len(split) // batch * batch
        for turn in range(options.rounds + 1):  # the first is for tracing
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                if turn:
                    times[name].append(time.perf_counter() - start)
    rates = {name: round(count / float(np.median(seconds)), 1) for name, seconds in times.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate} images a second")
    told, memory = rates["recorded teachers"], rates["recorded teachers, batches in memory"]
    ratios = {
        "recorded teachers / bare fit": told / rates["bare fit, Keras"],
        "recorded teachers / student alone": told / rates["student alone"],
        "recorded teachers / reference way": told / rates["reference way"],
        "live teachers / reference way": rates["live teachers"] / rates["reference way"],
        "share of the step spent waiting for data": 1 - told / memory,
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    if options.json:
        record = {"size": size, "batch": batch, "images_per_second": rates, "ratios": ratios}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
