"""Training of the face finder: `python -m tools.finder`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from rich.progress import track

from kd_loss.archives.folder import read_folder
from kd_loss.archives.w300 import TEST_PARTS, TRAIN_PARTS, read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.detection.blazeface import BlazeFaceDetector
from kd_loss.detection.finder import FinderDetector
from kd_loss.runs.folder import open_run
from kd_loss.schemes.benchmarks import W300
from kd_loss.synthetic.faces import draw_face, face_landmarks
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, read_json, write_json
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from tools.finder.compose import Composer
from tools.finder.faces import FacePicture, face_of_68, of_sample, read_backgrounds, read_cfp, read_unlabelled
from tools.finder.hold_out import held_out, held_out_number, odd_number
from tools.finder.measure import choose_scores, judge
from tools.finder.mining import Mining
from tools.finder.network import build_finder
from tools.finder.options import FinderOptions
from tools.finder.start import start_from
from tools.finder.targets import ComposedPictures, FinderLoss
from tools.finder.turned import read_turned
from tools.finder.write import write_finder

#: how often a composed face comes from the first folder, from other ones, from CFP's two halves, …
SHARES = {
    "first": 0.25,
    "other": 0.06,
    "cfp frontal": 0.09,
    "cfp profile": 0.15,
    "aflw": 0.28,
    "unlabelled": 0.10,
    "drawn": 0.05,
}
#: batches from one line of the history, and one saved state, to the next
EPOCH = 100


def run_train_finder(options: FinderOptions) -> Path:
    """Train; writes the network (`.tflite`, `.onnx`, `.h5`) and its card to the run's folder, which is returned.

    One in ten photographs of 300W and AFLW and persons of CFP, and every second background and photograph without
    annotation, take no part in it.
    """
    if not options.faces or not options.backgrounds:
        raise UserError("give --faces FOLDER… and --backgrounds FOLDER, e.g. --faces 300W --backgrounds scenes")
    for name in ("size", "input_size"):
        if getattr(options, name) % 32:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} is not a multiple of 32")
    keras.utils.set_random_seed(options.seed)
    pictures = read_pictures(options)
    folder = open_run(options.runs / "finder", options.name, "finder", _names(options), resume=options.resume)
    counts = ", ".join(f"{len(part)} {name}" for name, part in pictures.faces.items())
    print(f"faces: {counts}; backgrounds: {len(pictures.backgrounds)}", flush=True)
    composer = Composer(list(pictures.faces.values()), pictures.shares, pictures.backgrounds, options.size)
    data = ComposedPictures(composer, min(EPOCH, options.steps), options.batch_size, options.seed)
    model = build_finder(options.size)
    if options.start:
        some = np.concatenate([data[number][0] for number in range(8)])
        start_from(model, Path(options.start), some.astype(np.float32))
    with fused_batch_normalization():
        model.compile(keras.optimizers.Adam(options.learning_rate, global_clipnorm=20.0), [FinderLoss(), FinderLoss()])
        schedule = Schedule(folder, options, data)
        first = schedule.restore(model) if options.resume else 0
        mining = Mining(composer)
        log = keras.callbacks.CSVLogger(str(folder / "history.csv"), append=options.resume)
        epochs = 100_000 if options.minutes else max(1, options.steps // data.batches)
        history = model.fit(data, epochs=epochs, initial_epoch=first, verbose=2, callbacks=[log, schedule, mining])
    loss = history.history.get("loss") or [float("nan")]
    training = {"steps": schedule.steps, "pictures": schedule.steps * options.batch_size, "loss": float(loss[-1])}
    record = {**_names(options), **training}
    write_finder(model, options.input_size, folder / "finder", record)
    finish(folder / "finder", pictures)
    return folder


class Schedule(keras.callbacks.Callback):
    """The learning rate, which rises for 5 % of the training and falls as a cosine, and a state to resume from.

    How far the training has come is counted in steps, or in minutes where the options give them.
    """

    def __init__(self, folder: Path, options: FinderOptions, data: ComposedPictures):
        super().__init__()
        self.folder, self.options, self.data = folder, options, data
        self.steps, self.spent, self.clock = 0, 0.0, time.monotonic()

    def restore(self, model: keras.Model) -> int:
        """Load the state of an interrupted training; returns the epochs that it has done."""
        state = read_json(self.folder / "state.json", "the state of the training")
        model.optimizer.build(model.trainable_variables)  # its moments are in the file, too
        model.load_weights(self.folder / "state.weights.h5")
        self.steps, self.spent, self.data.epoch = int(state["steps"]), float(state["seconds"]), int(state["epochs"])
        return self.data.epoch

    def progress(self) -> float:
        """The part of the training that is done, 0…1."""
        minutes = self.options.minutes
        done = (
            (time.monotonic() - self.clock + self.spent) / 60 / minutes if minutes else self.steps / self.options.steps
        )
        return min(1.0, done)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate."""
        done = self.progress()
        factor = done / 0.05 if done < 0.05 else 0.02 + 0.49 * (1 + math.cos(math.pi * min(1, (done - 0.05) / 0.93)))
        self.model.optimizer.learning_rate = self.options.learning_rate * max(factor, 0.02)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count, and end when the time is over."""
        self.steps += 1
        if self.options.minutes and self.progress() >= 1:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the state."""
        with atomic_file(self.folder / "state.weights.h5", ".weights.h5") as temporary:
            self.model.save_weights(temporary)
        seconds = time.monotonic() - self.clock + self.spent
        write_json(self.folder / "state.json", {"epochs": epoch + 1, "steps": self.steps, "seconds": seconds})
        print(f"{self.steps} steps, {seconds / 60:.1f} minutes, {100 * self.progress():.0f} %", flush=True)


def finish(path: Path, pictures: Pictures) -> dict[str, Any]:
    """Choose the scores of a written finder on half of the backgrounds that were kept apart, and judge it on the rest.

    Scores and figures go to its card, which is returned.
    """
    network, backgrounds = path.with_suffix(".tflite"), pictures.held_backgrounds
    scores = choose_scores(network, backgrounds[::2])
    metrics = judge(FinderDetector(network, scores), pictures.held_faces, backgrounds[1::2])
    card = read_json(path.with_suffix(".json"), "the finder's card")
    card |= {"min_scores": scores, "metrics": metrics}
    write_json(path.with_suffix(".json"), card)
    found = ", ".join(f"{row['found']} of {row['faces']} {name}" for name, row in metrics.items() if "faces" in row)
    others = metrics["backgrounds"]
    least = ", ".join(f"{score:.2f}" for score in scores)
    print(f"{network}: scores {least}: {found}; {others['false']} false in {others['pictures']} backgrounds")
    return card


@dataclass
class Pictures:
    """What there is to learn from, and what is kept apart: lists of images with a face by name, the share of each
    list, and backgrounds."""

    faces: dict[str, list[FacePicture]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    backgrounds: list[FacePicture] = field(default_factory=list)
    held_faces: dict[str, Sequence[FacePicture]] = field(default_factory=dict)
    held_backgrounds: list[FacePicture] = field(default_factory=list)

    def add(
        self, name: str, share: float, pictures: Sequence[FacePicture], apart: Callable[[str], bool] | None = None
    ) -> None:
        """A list of images with a face; those whose group `apart` says are kept apart."""
        self.faces[name] = [picture for picture in pictures if not (apart and apart(picture.group))]
        self.shares.append(share)
        if apart:
            self.held_faces[name] = [picture for picture in pictures if apart(picture.group)]


def read_pictures(options: FinderOptions) -> Pictures:
    """All images that the options name."""
    detectors = [BlazeFaceDetector(Path(path), 0.3) for path in options.blazeface]
    pictures = Pictures()
    for number, source in enumerate(options.faces):
        is_300w = any((Path(source) / part).is_dir() for part in TRAIN_PARTS + TEST_PARTS)
        is_wflw = (Path(source) / "WFLW_annotations").is_dir()
        reader = read_w300 if is_300w else read_wflw
        archive = reader(Path(source)) if is_300w or is_wflw else read_folder(Path(source), W300, 0.1)
        samples = [sample for sample in archive.samples if sample.split == "train"]
        rows = [of_sample(sample, detectors) for sample in track(samples, source)]
        pictures.add(Path(source).name, SHARES["other" if number else "first"], rows, held_out if is_300w else None)
    if options.cfp:
        rows = read_cfp(Path(options.cfp))
        for half in ("frontal", "profile"):
            part = [picture for picture in rows if (picture.yaw < 45) == (half == "frontal")]
            pictures.add(f"cfp {half}", SHARES[f"cfp {half}"], part, held_out)
    if options.aflw:
        pictures.add("aflw", SHARES["aflw"], read_turned(Path(options.aflw)), held_out_number)
    for source in options.unlabelled:
        rows = [picture for picture in read_unlabelled(Path(source), detectors[:1]) if len(picture.faces)]
        pictures.add(Path(source).name, SHARES["unlabelled"], rows, odd_number)
    if options.drawn:
        rows = [_drawn(options.seed, index) for index in range(options.drawn)]
        pictures.add("drawn", SHARES["drawn"], rows)
    backgrounds = read_backgrounds(
        Path(options.backgrounds), detectors, lambda paths, _: track(paths, options.backgrounds)
    )
    pictures.backgrounds, pictures.held_backgrounds = backgrounds[::2], backgrounds[1::2]
    return pictures


def _names(options: FinderOptions) -> dict[str, object]:
    """The options, with folders and files by their names: where they lie says nothing about the network."""
    one = {
        name: Path(getattr(options, name)).name for name in ("cfp", "aflw", "backgrounds", "start", "runs", "config")
    }
    many = {name: [Path(p).name for p in getattr(options, name)] for name in ("faces", "unlabelled", "blazeface")}
    return {**asdict(options), **one, **many}


def _drawn(seed: int, index: int) -> FacePicture:
    image = cv2.GaussianBlur(draw_face(200, seed, index), (0, 0), 0.7)
    row = face_of_68(face_landmarks("w300", 200, seed, index))
    return FacePicture(image, row[None], np.zeros((0, 3)), f"drawn-{index}")
