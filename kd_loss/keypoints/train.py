"""The command `train-keypoints`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.keypoints.clips import Clips, DetectorPictures, PairLoader, read_clips
from kd_loss.keypoints.motion import Animator
from kd_loss.keypoints.options import DetectorTrainingOptions, KeypointOptions
from kd_loss.keypoints.sheet import write_sheet
from kd_loss.keypoints.trainer import KeypointTrainer, TermModel
from kd_loss.networks import build_network, load_network
from kd_loss.networks.keypoint_detector import KeypointCard, KeypointDetector, build_detector, save_detector
from kd_loss.networks.landmark_net import take_weights
from kd_loss.runs.folder import open_run
from kd_loss.system.configuration import to_plain
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, sha256
from kd_loss.training.fit import compile_with_adam, fit_run, run_log
from kd_loss.training.trackers import trackers

log = logging.getLogger(__name__)

#: feature maps of a student in which images are compared
FEATURE_TAPS = ("P2", "P3")


def run_train_keypoints(options: KeypointOptions) -> Path:
    """Train a detector; returns its run folder, with `best.h5`, its card, the animator's weights and `sheet.png`."""
    clips = read_clips(Path(options.clips), options.size, options.crop)
    if clips.left_out:
        log.warning(f"{clips.left_out} clips of one frame are skipped: they have no pairs")
    train, held = clips.split(options.validation)
    loader = PairLoader(clips, train, options.batch_size, options.seed, warp=options.warp)
    validation = (
        PairLoader(clips, held, options.batch_size, options.seed, train=False, warp=options.warp) if len(held) else None
    )
    card = KeypointCard(
        options.arch,
        options.alpha,
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
    decided = {"clips_sha256": clips.checksum}
    if options.features:
        decided["features_sha256"] = sha256(Path(options.features))
    return fit_detector(
        trainer,
        detector,
        (loader, validation),
        options,
        default_name="detector",
        decided_by=decided,
        monitor="val_loss",
        about=f"{options.points} keypoints, {len(train)} clips, {len(held)} held out, {options.size} px, "
        f"{len(loader) * options.epochs} steps",
        shown=(clips, held if len(held) else train),
    )


def fit_detector(
    model: TermModel,
    detector: KeypointDetector,
    loaders: tuple[Any, Any],
    options: DetectorTrainingOptions,
    *,
    default_name: str,
    decided_by: dict[str, Any],
    monitor: str,
    about: str,
    shown: tuple[Clips, np.ndarray],
) -> Path:
    """Compile and train a model that trains a detector, and return the run folder.

    Args:
        model: the model to train, which returns the terms.
        detector: the detector inside it, which is saved.
        loaders: training loader, and validation loader or None.
        options: options of the training.
        default_name: name of the run if `options.name` is empty.
        decided_by: checksums of what determines the result, compared when the run is resumed.
        monitor: the validation value that chooses the best epoch.
        about: message before the training, in addition to the detector's architecture and size.
        shown: images, and the numbers of their clips, for `sheet.png`.
    """
    loader, validation = loaders
    xla = False if keras.backend.backend() == "tensorflow" else "auto"
    compile_with_adam(model, options.learning_rate, len(loader) * options.epochs, clip=50.0, jit_compile=xla)
    settings = {**to_plain(options), "arch": detector.card.arch, "decided_by": decided_by}
    folder = open_run(options.runs / "keypoints", options.name, default_name, settings, options.resume)
    note = run_log(folder)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {key: value for key, value in logs.items() if key.startswith("val_")}
        card = dataclasses.replace(detector.card, metrics=metrics)
        save_detector(KeypointDetector(detector.model, card), folder / "best.h5")
        model.save_beside(folder)
        sheet(detector, *shown, folder / "sheet.png")

    with alone_in(folder):
        checkpoint = fit_run(
            model,
            detector.model,
            loader,
            validation,
            folder,
            epochs=options.epochs,
            patience=options.patience,
            resume=options.resume,
            save_best=save_best,
            save_last=lambda: save_detector(detector, folder / "last.h5"),
            note=note,
            opening=[
                f"{folder}: {detector.card.arch}, {detector.model.count_params():,} parameters, {about}",
                f"objective: {model.objective}",
            ],
            monitor=monitor,
            order=["loss", *model.trackers],
            pictures=DetectorPictures(loader),
            callbacks=trackers(options.log_to, folder, settings),
        )
    if checkpoint.best is not None:
        note(f"best {monitor} {checkpoint.best:.4f} -> {folder / 'best.h5'}")
    return folder


def sheet(detector: KeypointDetector, clips: Clips, chosen: np.ndarray, path: Path, most: int = 18) -> None:
    """Draw `sheet.png`: up to three frames each of clips spread over the chosen ones."""
    some = chosen[np.unique(np.linspace(0, len(chosen) - 1, most).astype(int))]
    rows = np.concatenate([np.flatnonzero(clips.clip == number)[:3] for number in some])
    write_sheet(path, clips.frames[rows], detector.find(clips.frames[rows]))


def _features(options: KeypointOptions) -> keras.Model | None:
    """The first feature maps of a student, for images of this training's size."""
    if not options.features:
        return None
    student = load_network(Path(options.features))
    missing = [tap for tap in FEATURE_TAPS if tap not in student.taps]
    if missing:
        raise UserError(f"--features {options.features}: it has no feature map {', '.join(missing)}")
    resized = build_network(dataclasses.replace(student.card, size=options.size), seed=options.seed)
    take_weights(resized, student)
    return resized.tap_model(FEATURE_TAPS)
