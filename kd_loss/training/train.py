"""One training, for teachers and students alike."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kd_loss
from kd_loss.configuration import to_plain
from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit, holdout
from kd_loss.datasets.unlabelled import MixedLoader
from kd_loss.distillation import DistillationMethod, Distiller, RecordedTeacher, Teacher
from kd_loss.files import atomic_file, disk_error, write_json
from kd_loss.networks import Card, LandmarkNet, build_network, load_network, save_network
from kd_loss.networks.landmark_net import batch_norm_momentum, take_weights
from kd_loss.training.acceleration import fused_batch_normalization
from kd_loss.training.callbacks import Checkpoint, EpochCounter, event_files
from kd_loss.training.history import history_plot
from kd_loss.training.options import TrainingOptions
from kd_loss.training.processes import Processes
from kd_loss.training.run import open_run, package_versions

Tell = Callable[[str], None]


def learning_rate(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a twentieth of the steps (at most 500), then half a cosine down to 1 % of the peak.

    A schedule of the optimizer, not a callback: the rate follows from the optimizer's own step count,
    so a resumed run has it right.
    """
    warmup = min(500, max(1, steps // 20))
    return keras.optimizers.schedules.CosineDecay(
        peak * 0.01, max(1, steps - warmup), alpha=0.01, warmup_target=peak, warmup_steps=warmup
    )


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """Faces without landmarks beside the annotated ones, see `datasets.unlabelled`.

    Attributes:
        split: its landmarks are the teachers' predictions; answers: of recorded teachers about it.
        weight, mix_weight: of the distilling terms on them, of the error on mixtures.
        mix_alpha: of the distribution of mixtures.
    """

    split: PreparedSplit
    answers: Mapping[str, Answers]
    weight: float
    mix_weight: float
    mix_alpha: float


def augmentation_of(options: TrainingOptions) -> Augmentation:
    """The augmentation of the training faces."""
    chosen = Augmentation().scaled(options.augment) if options.augment else NO_AUGMENTATION
    own = {"shift": options.shift, "scale": options.scale}
    return dataclasses.replace(chosen, **{name: value for name, value in own.items() if value is not None})


def train(
    options: TrainingOptions,
    *,
    dataset: PreparedDataset,
    arch: str,
    role: str,
    default_name: str,
    methods: Mapping[DistillationMethod, float],
    teachers: Mapping[str, Teacher] | None = None,
    soft: bool = False,
    views: int = 0,
    unlabelled: Unlabelled | None = None,
    freeze: str = "",
    record: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
    tell: Tell = print,
) -> Path:
    """Train one network and return its run folder, with `best.h5` in it.

    Args:
        role: `student`, `tough` or `tolerant`, for the card.
        methods, teachers: see `Distiller`.
        soft: whether the targets are the soft landmarks.
        views: of recorded teachers, see `datasets.answers.Answers`.
        unlabelled: faces without landmarks to train on as well.
        freeze: the tap up to which the network stays as `--init` has it; none if empty.
        record: what else decides the result, e.g. the teachers' files and checksums: kept with the run
            and in the card, and compared when the run is resumed.
        processes: those that train together; this one alone if None.
    """
    processes = processes or Processes()
    processes.check_batch(options.batch_size)
    keras.mixed_precision.set_global_policy(options.precision)
    try:
        with processes.data_parallel(), tempfile.TemporaryDirectory() as scratch:
            return _train(
                options, dataset, arch, role, default_name, methods, teachers, soft, views, unlabelled, freeze,
                record, processes, Path(scratch), tell if not processes.index else lambda _: None,
            )  # fmt: skip
    finally:
        keras.mixed_precision.set_global_policy("float32")


def _train(
    options: TrainingOptions,
    dataset: PreparedDataset,
    arch: str,
    role: str,
    default_name: str,
    methods: Mapping[DistillationMethod, float],
    teachers: Mapping[str, Teacher] | None,
    soft: bool,
    views: int,
    unlabelled: Unlabelled | None,
    freeze: str,
    record: Mapping[str, Any] | None,
    processes: Processes,
    scratch: Path,
    tell: Tell,
) -> Path:
    split = dataset.split("train")
    chosen, held = holdout(split, options.validation, options.seed)
    size = options.size or dataset.size
    answers = {role: t.answers for role, t in (teachers or {}).items() if isinstance(t, RecordedTeacher)}
    common: dict[str, Any] = {
        "size": size, "batch_size": options.batch_size, "seed": options.seed, "workers": options.workers,
        "augmentation": augmentation_of(options), "views": views, "shard": (processes.index, processes.count),
    }  # fmt: skip
    faces = FaceLoader(split, chosen, soft=soft, answers=answers, **common)
    loader: FaceLoader | MixedLoader = faces
    if unlabelled:
        more = FaceLoader(unlabelled.split, np.arange(len(unlabelled.split)), answers=unlabelled.answers, **common)
        loader = MixedLoader(faces, more, unlabelled.mix_alpha if unlabelled.mix_weight else 0.0, options.seed)
    validation = (
        FaceLoader(split, held, soft=soft, **{**common, "augmentation": None, "views": 0, "workers": 1})
        if len(held)
        else None
    )
    steps = len(loader) * options.epochs
    card = Card(
        arch=arch,
        alpha=options.alpha,
        dataset=options.dataset,
        spec=dataset.spec.to_dict(),
        size=size,
        role=role,
        margin=dataset.manifest["crop"]["margin"],
        calibration=dataset.manifest.get("calibration", {}),
        training={
            "epochs": options.epochs,
            "seed": options.seed,
            "faces": len(chosen),
            "held_out": len(held),
            "data_sha256": dataset.manifest["sha256"]["train/landmarks.npy"],
            "method": " + ".join(method.name_on_command_line for method in methods),
            **(record or {}),
        },
        versions={"kd_loss": kd_loss.__version__, "keras": keras.__version__, **package_versions()},
    )
    network = build_network(
        card,
        pretrained=options.pretrained,
        dropout=options.dropout,
        momentum=batch_norm_momentum(steps),
        mean_shape=faces.targets[chosen].mean(axis=0),
        seed=options.seed,
    )
    if options.init:
        tell(take_weights(network, load_network(Path(options.init))))
    if freeze:
        for layer in network.tap_model([freeze]).layers:
            layer.trainable = False
    distiller = Distiller(
        student=network,
        methods=methods,
        teachers=teachers,
        spec=dataset.spec,
        unlabelled_weight=unlabelled.weight if unlabelled else 1.0,
        mix_weight=unlabelled.mix_weight if unlabelled and unlabelled.mix_alpha else 0.0,
    )
    distiller.compile(optimizer=keras.optimizers.Adam(learning_rate(options.learning_rate, steps)), jit_compile=_jit())
    distiller.optimizer.build(distiller.trainable_variables)

    settings = {**to_plain(options), "arch": arch, "role": role, "decided_by": card.training}
    place = scratch
    if not processes.index:
        place = open_run(options.runs / options.dataset, options.name, default_name, settings, options.resume)
    place = processes.agree_on(place)
    folder = place if not processes.index else scratch  # only the first process writes the run

    def note(line: str) -> None:
        try:
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        except OSError as error:
            raise disk_error(error, folder) from None
        tell(line)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {"validation_nme": logs["val_nme"]} if "val_nme" in logs else {}
        save_network(LandmarkNet(network.model, dataclasses.replace(network.card, metrics=metrics)), folder / "best.h5")

    checkpoint = Checkpoint(folder, save_best, "val_nme" if validation else None)
    done = checkpoint.restore(distiller, place) if options.resume else 0
    note(f"{folder}: {role} {arch}, {len(chosen)} faces, {len(held)} held out, {size} px, {steps} steps")
    for name, value in (record or {}).items():
        note(f"{name}: {value}")
    note(f"objective: {distiller.objective}" + (f"; {done} epochs done before" if done else ""))
    if done < options.epochs:
        with fused_batch_normalization():
            distiller.fit(
                loader,
                validation_data=validation,
                epochs=options.epochs,
                initial_epoch=done,
                shuffle=False,
                callbacks=[EpochCounter(loader), *event_files(folder), checkpoint],
                verbose=0 if processes.index else 1 if sys.stdout.isatty() else 2,
            )
        save_network(network, folder / "last.h5")
    with atomic_file(folder / "curves.png") as picture:
        picture.write_bytes(history_plot(checkpoint.history))
    write_json(folder / "finished.json", {"epochs": options.epochs, "best": checkpoint.best})
    if checkpoint.best is not None:
        note(f"best validation NME {checkpoint.best:.2f} % -> {folder / 'best.h5'}")
    return place


def _jit() -> bool | str:
    """XLA never on a CPU under TensorFlow, where it is ten times slower; other backends as they like."""
    return False if keras.backend.backend() == "tensorflow" else "auto"
