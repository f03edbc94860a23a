"""The command `train-recogniser`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.inference.weights import default_weights
from kd_loss.networks import LandmarkNet, load_network
from kd_loss.recognition.card import SUFFIX, RecogniserCard, card_beside, weights_file
from kd_loss.recognition.dataset import Persons, open_persons
from kd_loss.recognition.loader import PersonsLoader, split_persons
from kd_loss.recognition.margins import MarginHead
from kd_loss.recognition.options import RecogniserOptions, check_width
from kd_loss.recognition.recogniser import CENTRES, Recogniser, load_recogniser, new_recogniser, save_recogniser
from kd_loss.recognition.routing import PseudoLabels
from kd_loss.recognition.stored_maps import stored_maps
from kd_loss.recognition.trainer import RecogniserTrainer
from kd_loss.runs.folder import open_run, start_record
from kd_loss.system.configuration import to_plain
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, atomic_file, sha256
from kd_loss.system.versions import package_versions
from kd_loss.training.fit import compile_with_adam, fit_run, run_log
from kd_loss.training.trackers import trackers

log = logging.getLogger(__name__)

#: images of held-out persons in one batch of validation
HELD = 512


def run_train_recogniser(options: RecogniserOptions) -> Path:
    """Train a recogniser; returns its run folder, with `best.weights.h5` and its card `best.json`."""
    options.check()
    if options.teacher:
        _check_width(options)
    dataset = open_persons(options.dataset, options.data)
    persons = dataset.split("train")
    train, held = split_persons(persons, options.validation)
    names, labels = np.unique(persons.person[train], return_inverse=True)
    if len(names) < 2:
        raise UserError(f"{dataset.folder} has {len(names)} person to train on: two are the least")
    init = weights_file(Path(options.init)) if options.init else Path(options.init)
    of_training = np.full(len(persons), -1)
    of_training[train] = labels
    decided: dict[str, Any] = {"data_sha256": dataset.checksum, **start_record(str(init))}
    card = RecogniserCard(
        options.arch,
        options.alpha,
        dataset.size,
        options.embedding,
        tuple(options.units),
        options.dropout,
        bool(dataset.manifest.get("align")),
        *(options.heatmaps, options.features, options.dynamic, options.temperature),
        training={
            "dataset": options.dataset,
            "persons": [str(name) for name in persons.persons],
            "pictures": len(train),
            "held_out_persons": len(persons.persons) - len(names),
            "alignment": dataset.manifest["alignment"],
            **{
                name: getattr(options, name) for name in ("epochs", "seed", "loss", "scale", "other_maps", "clustering")
            },
        },
        versions=package_versions(),
    )
    landmarks = None
    if card.integrated:
        landmarks, digest = _landmark_network(options.landmarks)
        decided["landmarks_sha256"] = digest
    recogniser = new_recogniser(card, landmarks, options.seed)
    if options.init:
        _start(recogniser, init)
    data: dict[str, Any] = {"batch_size": options.batch_size, "seed": options.seed, "other_maps": options.other_maps}
    if card.integrated:
        data["maps"] = stored_maps(
            recogniser, persons.images, dataset.checksum, options.runs / options.dataset / "maps"
        )
    loader = PersonsLoader(persons, train, of_training, **data)
    steps = len(loader) * options.epochs
    head = MarginHead(
        len(names), options.embedding, options.loss, options.scale, options.margin, round(options.ramp * steps)
    )
    if options.teacher:
        from kd_loss.recognition.distil import distilling_trainer

        trainer, training = distilling_trainer(recogniser, head, options)
        decided |= {"teacher_sha256": training["teacher_sha256"]}
        card = dataclasses.replace(card, training={**card.training, **training})
        recogniser = dataclasses.replace(recogniser, card=card)
    else:
        clusters = options.clusters if options.clustering != "none" else 0
        trainer = RecogniserTrainer(recogniser.network, head, clusters, options.cluster_weight)
    validation = _validation(persons, held, data) if len(held) else None
    return _fit(options, recogniser, trainer, loader, validation, steps, decided, len(names))


def _fit(
    options: RecogniserOptions, recogniser: Recogniser, trainer: Any, loader: PersonsLoader,
    validation: PersonsLoader | None, steps: int, decided: dict[str, Any], persons: int,
) -> Path:  # fmt: skip
    """Compile, open the run and train."""
    xla = False if keras.backend.backend() == "tensorflow" else "auto"
    compile_with_adam(trainer, options.learning_rate, steps, clip=5.0, jit_compile=xla)
    settings = {**to_plain(options), "role": "recogniser", "decided_by": decided}
    folder = open_run(options.runs / options.dataset, options.name, "recogniser", settings, options.resume)
    note = run_log(folder)

    def save_best(logs: dict[str, float]) -> None:
        metrics = {key: value for key, value in logs.items() if key.startswith("val_")}
        card = dataclasses.replace(recogniser.card, metrics=metrics)
        save_recogniser(dataclasses.replace(recogniser, card=card), folder / "best")
        centres = keras.ops.convert_to_numpy(trainer.head.centres)
        with atomic_file(folder / CENTRES, ".npy") as temporary:
            np.save(temporary, centres / np.maximum(np.linalg.norm(centres, axis=0, keepdims=True), 1e-6))

    callbacks = trackers(options.log_to, folder, settings)
    if options.clustering != "none":
        callbacks.append(PseudoLabels(recogniser, trainer, loader, options.clustering, options.seed))
    with alone_in(folder):
        checkpoint = fit_run(
            trainer,
            trainer,  # its averages are used as they are: batches hold maps besides images
            loader,
            validation,
            folder,
            epochs=options.epochs,
            patience=options.patience,
            resume=options.resume,
            save_best=save_best,
            save_last=lambda: save_recogniser(recogniser, folder / "last"),
            note=note,
            opening=[
                f"{folder}: {recogniser.card.title}, {recogniser.network.count_params():,} parameters, "
                f"{persons} persons, {len(loader.chosen):,} images of {recogniser.card.size} px, {steps} steps",
                f"objective: {trainer.objective}",
            ],
            monitor="val_loss",
            order=trainer.order,
            callbacks=callbacks,
        )
    if checkpoint.best is not None:
        note(f"best val_loss {checkpoint.best:.4f} -> {folder / 'best.weights.h5'}")
    return folder


def _validation(persons: Persons, held: np.ndarray, data: dict[str, Any]) -> PersonsLoader:
    """A loader of held-out persons, all in one batch; of many, images spread evenly over them."""
    some = held[np.unique(np.linspace(0, len(held) - 1, min(HELD, len(held))).astype(int))]
    return PersonsLoader(persons, some, persons.labels, **{**data, "batch_size": len(some)}, train=False)


def _check_width(options: RecogniserOptions) -> None:
    """Refuse a teacher's card of another embedding before anything is built; other teachers are asked later."""
    path = weights_file(Path(options.teacher))
    if path.is_file() and path.name.endswith(SUFFIX):
        check_width(options, card_beside(path).embedding)


def _landmark_network(given: str) -> tuple[LandmarkNet, str]:
    """The landmark network whose maps are integrated, and its checksum."""
    path = Path(given or default_weights())
    network = load_network(path)
    if "heatmaps" not in network.taps:
        raise UserError(f"{path} has no heatmaps: give --landmarks FILE, a network with --head heatmap")
    return network, sha256(path)


def _start(recogniser: Recogniser, path: Path) -> None:
    """Copy the weights of layers of the same name and shape; raises a `UserError` if there are none."""
    source = load_recogniser(path)
    theirs = {layer.name: layer.get_weights() for layer in source.network.layers if layer.weights}
    taken = 0
    for layer in recogniser.network.layers:
        weights = theirs.get(layer.name)
        if layer.weights and weights and [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(weights)
            taken += 1
    if not taken:
        raise UserError(f"--init {path}: {source.card.title} has no layer of {recogniser.card.title}")
    log.info(f"started from {path}: {taken} layers taken")
