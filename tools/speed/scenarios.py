"""The ways of training that `tools.speed.training` compares: each an epoch to run again and again.

Networks have random weights and the recorded answers are made up: only the time counts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform
from kd_loss.distillation import get_method
from kd_loss.networks import Card, LandmarkNet, build_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher

ROLES = ("tough", "tolerant")
BARE, BARE_FUSED = "bare fit of Keras", "bare fit, fused batch normalisation"
ALONE, RECORDED, RECORDED_KERAS = "student alone", "recorded teachers", "recorded teachers, Keras's batch normalisation"
LIVE, REFERENCE = "live teachers", "reference way"

#: (student, teachers, images (N, S, S, 3) uint8, landmarks (N, K, 2), faces in a batch, a folder) -> an epoch
Reference = Callable[[keras.Model, list[keras.Model], np.ndarray, np.ndarray, int, Path], Callable[[], None]]


@dataclass
class Clock:
    """Where the time of the steps went, in seconds: waiting for a batch, and computing; summed over all steps."""

    waiting: list[float] = field(default_factory=list)
    computing: list[float] = field(default_factory=list)

    def watch(self, model: keras.Model) -> None:
        """Time every step of a compiled model's `fit`, TensorFlow backend.

        Keras asks for a batch and computes within one compiled function; here the two are called one after
        the other, which is the order in which they run there, too: nothing is loaded ahead of the step
        but by the loader's own threads.
        """
        import tensorflow as tf

        step = tf.function(model.train_step, jit_compile=False)

        def train_function(iterator: Any) -> Any:
            start = time.perf_counter()
            batch = next(iterator)
            got = time.perf_counter()
            logs = step(batch)
            self.waiting.append(got - start)
            self.computing.append(time.perf_counter() - got)
            return logs

        model.train_function = train_function

    def share(self, steps: int) -> float:
        """The share of the last `steps` steps' time that was spent waiting."""
        waiting, computing = sum(self.waiting[-steps:]), sum(self.computing[-steps:])
        return waiting / (waiting + computing)


def random_network(arch: str, size: int) -> LandmarkNet:
    """An untrained network; MobileNetV2 as a student, others as a teacher."""
    role = "student" if arch == "mobileNetV2" else "tough"
    return build_network(Card(arch, 1.0, "synthetic", W300.to_dict(), size, role, 0.15))


def bare(split: PreparedSplit, size: int, batch: int, fused: bool) -> Callable[[], None]:
    """Keras alone: `fit` of the student on images and landmarks in memory, with neither loader nor teachers."""
    model = random_network("mobileNetV2", size).model
    model.compile(optimizer="adam", loss="mae", jit_compile=False)
    count = len(split) // batch * batch
    x, y = np.stack([split.crop(i) for i in range(count)]).astype(np.float32), np.asarray(split.landmarks[:count])

    def epoch() -> None:
        with fused_batch_normalization() if fused else contextlib.nullcontext():
            model.fit(x, y, batch_size=batch, verbose=0)

    return epoch


def ours(loader: FaceLoader, teachers: dict, method: str, fused: bool = True, clock: Clock | None = None) -> Callable:
    """An epoch of this package's training, as `train-student` runs it."""
    student = random_network("mobileNetV2", loader.transform.size)
    distiller = Distiller(student=student, methods={get_method(method): 1.0}, teachers=teachers, scheme=W300)
    distiller.compile(optimizer="adam", jit_compile=False)
    if clock:
        clock.watch(distiller)

    def epoch() -> None:
        with fused_batch_normalization() if fused else contextlib.nullcontext():
            distiller.fit(loader, verbose=0, shuffle=False)

    return epoch


def load_reference(file: Path) -> Reference:
    """The function `reference` of a Python file; see `tools/reference.py` for what it takes and returns."""
    spec = importlib.util.spec_from_file_location("reference_way", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UserError(f"--reference {file}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "reference"):
        raise UserError(f"--reference {file} has no function 'reference'")
    return module.reference


def all_ways(
    split: PreparedSplit, size: int, batch: int, reference: Reference | None, folder: Path, clock: Clock
) -> dict[str, Callable[[], None]]:
    """Name -> epoch. Every epoch sees the same number of images; `clock` watches the recorded teachers."""
    answers = {role: Answers({"landmarks": np.array(split.landmarks)[None] + 0.01}) for role in ROLES}
    order, view = FaceSampler(split, shuffled=True), CropTransform(size, Augmentation())
    plain = FaceLoader(order, view, batch_size=batch)
    with_answers = FaceLoader(order, view, batch_size=batch, answers=answers)
    recorded = {role: RecordedTeacher(answers[role]) for role in ROLES}
    teachers = {role: random_network("efficientNet", size) for role in ROLES}
    live = {role: LiveTeacher(network) for role, network in teachers.items()}
    ways = {
        BARE: bare(split, size, batch, fused=False),
        BARE_FUSED: bare(split, size, batch, fused=True),
        ALONE: ours(plain, {}, "none"),
        RECORDED: ours(with_answers, recorded, "kd_loss", clock=clock),
        RECORDED_KERAS: ours(with_answers, recorded, "kd_loss", fused=False),
        LIVE: ours(plain, live, "kd_loss"),
    }
    if reference:
        networks = [network.model for network in teachers.values()]
        student = random_network("mobileNetV2", size).model
        images, landmarks = np.stack([split.crop(i) for i in range(len(split))]), np.asarray(split.landmarks)
        ways[REFERENCE] = reference(student, networks, images, landmarks, batch, folder)
    return ways
