"""The command `train-keypoints`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.keypoints.clips import Clips, DetectorPictures, PairLoader, read_clips
from kd_loss.keypoints.motion import Animator
from kd_loss.keypoints.options import KeypointOptions
from kd_loss.keypoints.sheet import write_sheet
from kd_loss.keypoints.trainer import KeypointTrainer
from kd_loss.networks import build_network, load_network
from kd_loss.networks.keypoint_detector import KeypointCard, KeypointDetector, build_detector, save_detector
from kd_loss.networks.landmark_net import take_weights
from kd_loss.runs.folder import open_run
from kd_loss.system.configuration import to_plain
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, atomic_file, sha256, write_json
from kd_loss.training.callbacks import Checkpoint, EpochCounter
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from kd_loss.training.precise_batch_norm import TrueStatistics
from kd_loss.training.trainer import learning_rate

#: the maps of a student in which pictures are compared
FEATURE_TAPS = ("P2", "P3")


def run_train_keypoints(options: KeypointOptions) -> Path:
    """Train a detector; its run folder, with `best.h5`, its card, the animator's weights and `sheet.png`."""
    clips = read_clips(Path(options.data), options.size, options.crop)
    if clips.left_out:
        print(f"{clips.left_out} clips of one frame are left out: no pair can be made of them")
    train, held = clips.split(options.validation)
    loader = PairLoader(clips, train, options.batch_size, options.seed, warp=options.warp)
    validation = (
        PairLoader(clips, held, options.batch_size, options.seed, train=False, warp=options.warp) if len(held) else None
    )
    card = KeypointCard(
        options.arch,
        options.width,
        options.points,
        options.size,
        options.crop,
        options.stride,
        training={
            "epochs": options.epochs,
            "seed": options.seed,
            "clips": len(train),
            "held_out": len(held),
            "features": Path(options.features).name,
            "separation": options.separation,
            "warp": options.warp,
        },
    )
    detector = build_detector(card, options.seed)
    trainer = KeypointTrainer(detector, Animator(options.size, options.points), _features(options), options.separation)
    steps = len(loader) * options.epochs
    compile_for(trainer, options.learning_rate, steps)
    decided = {"clips_sha256": clips.checksum}
    if options.features:
        decided["features_sha256"] = sha256(Path(options.features))
    settings = {**to_plain(options), "arch": detector.card.arch, "decided_by": decided}
    folder = open_run(options.runs / "keypoints", options.name, "detector", settings, options.resume)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {key: value for key, value in logs.items() if key.startswith("val_")}
        best = KeypointDetector(detector.model, dataclasses.replace(detector.card, metrics=metrics))
        save_detector(best, folder / "best.h5")
        save_weights(trainer.animator, folder / "animator.weights.h5")
        sheet(detector, clips, held if len(held) else train, folder / "sheet.png")

    print(
        f"{folder}: {detector.card.arch}, {detector.model.count_params():,} parameters, {options.points} keypoints, "
        f"{len(train)} clips, {len(held)} held out, {options.size} px, {steps} steps"
    )
    print("objective: " + " + ".join(f"{weight:g}·{name}" for name, weight in trainer.weights_of_terms.items()))
    with alone_in(folder):
        fit(trainer, detector.model, loader, validation, options, folder, save_best)
    return folder


def compile_for(model: keras.Model, rate: float, steps: int) -> None:
    """Adam with the schedule of all trainings here; built, so that its state can be restored."""
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(keras.optimizers.Adam(learning_rate(rate, steps), global_clipnorm=50.0), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)


def fit(
    model: keras.Model,
    detector: keras.Model,
    loader: Any,
    validation: Any,
    options: Any,
    folder: Path,
    save_best: Any,
    monitor: str = "val_loss",
) -> None:
    """Train with history, the best epoch by `monitor`, and the state to resume from.

    The detector's batch statistics are made anew before every validation and saving.
    """
    pictures: Any = DetectorPictures(loader)
    checkpoint = Checkpoint(folder, save_best, monitor if validation is not None else None)
    done = checkpoint.restore(model) if options.resume else 0
    with fused_batch_normalization():
        model.fit(
            loader,
            validation_data=validation,
            epochs=options.epochs,
            initial_epoch=done,
            shuffle=False,
            callbacks=[EpochCounter(loader), TrueStatistics(detector, pictures), checkpoint],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    write_json(folder / "finished.json", {"epochs": options.epochs, "best": checkpoint.best})


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a model's weights, atomically."""
    with atomic_file(path, ".weights.h5") as temporary:
        model.save_weights(temporary)


def sheet(detector: KeypointDetector, clips: Clips, chosen: np.ndarray, path: Path, most: int = 18) -> None:
    """`sheet.png`: up to three frames each of clips spread over the chosen ones."""
    some = chosen[np.unique(np.linspace(0, len(chosen) - 1, most).astype(int))]
    rows = np.concatenate([np.flatnonzero(clips.clip == number)[:3] for number in some])
    write_sheet(path, clips.frames[rows], detector.find(clips.frames[rows]))


def _features(options: KeypointOptions) -> keras.Model | None:
    """The first feature maps of a student, for pictures of this training's size."""
    if not options.features:
        return None
    student = load_network(Path(options.features))
    missing = [tap for tap in FEATURE_TAPS if tap not in student.taps]
    if missing:
        raise UserError(f"--features {options.features}: it has no map {', '.join(missing)}")
    resized = build_network(dataclasses.replace(student.card, size=options.size), seed=options.seed)
    take_weights(resized, student)
    return resized.tap_model(FEATURE_TAPS)
