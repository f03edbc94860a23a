"""Training of the face finder: `python -m tools.finder`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from rich.progress import track

from kd_loss.archives.folder import read_folder
from kd_loss.archives.w300 import TEST_PARTS, TRAIN_PARTS, read_w300
from kd_loss.detection.blazeface import BlazeFaceDetector
from kd_loss.detection.finder import FinderDetector
from kd_loss.runs.folder import open_run
from kd_loss.schemes.benchmarks import W300
from kd_loss.synthetic.faces import draw_face, face_landmarks
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, write_json
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from tools.finder.compose import Composer
from tools.finder.faces import FacePicture, face_of_68, of_sample, read_backgrounds, read_cfp
from tools.finder.hold_out import held_out
from tools.finder.measure import choose_scores, judge
from tools.finder.network import build_finder
from tools.finder.options import FinderOptions
from tools.finder.targets import ComposedPictures, FinderLoss
from tools.finder.write import write_finder

#: which faces of a batch: of the first folder, of every other one, of CFP, drawn
SHARES = {"first": 0.45, "other": 0.15, "cfp": 0.35, "drawn": 0.05}


def run_train_finder(options: FinderOptions) -> Path:
    """Train; writes the network (`.tflite`, `.onnx`, `.h5`) and its card to the run's folder, which is returned.

    One in ten photographs of 300W and persons of CFP, and every second background, take no part in it.
    """
    if not options.faces or not options.backgrounds:
        raise UserError("give --faces FOLDER… and --backgrounds FOLDER, e.g. --faces 300W --backgrounds scenes")
    for name in ("size", "input_size"):
        if getattr(options, name) % 32:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} is not a multiple of 32")
    keras.utils.set_random_seed(options.seed)
    pictures = read_pictures(options)
    folder = open_run(options.runs / "finder", options.name, "finder", _names(options), resume=False)
    counts = ", ".join(f"{len(part)} {name}" for name, part in pictures.faces.items())
    print(f"faces: {counts}; backgrounds: {len(pictures.backgrounds)}")
    composer = Composer(list(pictures.faces.values()), pictures.shares, pictures.backgrounds, options.size)
    epochs = max(1, options.steps // 100)
    data = ComposedPictures(composer, options.steps // epochs, options.batch_size, options.seed)
    model = build_finder(options.size)
    rate = keras.optimizers.schedules.CosineDecay(
        options.learning_rate / 30,
        decay_steps=int(0.95 * options.steps),
        warmup_target=options.learning_rate,
        warmup_steps=max(1, int(0.05 * options.steps)),
        alpha=0.02,
    )
    with fused_batch_normalization():
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=20.0), [FinderLoss(), FinderLoss()])
        history = model.fit(
            data, epochs=epochs, verbose=2, callbacks=[keras.callbacks.CSVLogger(str(folder / "history.csv"))]
        )
    training = {"pictures": options.steps * options.batch_size, "loss": float(history.history["loss"][-1])}
    record = {**_names(options), **training}
    write_finder(model, options.input_size, folder / "finder", record)
    finish(folder / "finder", pictures)
    return folder


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
    """What there is to learn from, and what is kept apart: lists of pictures with a face by name, the share of each
    list, and backgrounds."""

    faces: dict[str, list[FacePicture]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    backgrounds: list[FacePicture] = field(default_factory=list)
    held_faces: dict[str, Sequence[FacePicture]] = field(default_factory=dict)
    held_backgrounds: list[FacePicture] = field(default_factory=list)

    def add(self, name: str, share: float, pictures: Sequence[FacePicture], apart: bool) -> None:
        """A list of pictures with a face; with `apart`, some of them are kept apart."""
        self.faces[name] = [picture for picture in pictures if not (apart and held_out(picture.group))]
        self.shares.append(share)
        if apart:
            self.held_faces[name] = [picture for picture in pictures if held_out(picture.group)]


def read_pictures(options: FinderOptions) -> Pictures:
    """All pictures that the options name."""
    detectors = [BlazeFaceDetector(Path(path), 0.3) for path in options.blazeface]
    pictures = Pictures()
    for number, source in enumerate(options.faces):
        is_300w = any((Path(source) / part).is_dir() for part in TRAIN_PARTS + TEST_PARTS)
        archive = read_w300(Path(source)) if is_300w else read_folder(Path(source), W300, 0.1)
        samples = [sample for sample in archive.samples if sample.split == "train"]
        rows = [of_sample(sample, detectors) for sample in track(samples, source)]
        pictures.add(Path(source).name, SHARES["other" if number else "first"], rows, apart=is_300w)
    if options.cfp:
        pictures.add("cfp", SHARES["cfp"], read_cfp(Path(options.cfp)), apart=True)
    if options.drawn:
        rows = [_drawn(options.seed, index) for index in range(options.drawn)]
        pictures.add("drawn", SHARES["drawn"], rows, apart=False)
    backgrounds = read_backgrounds(
        Path(options.backgrounds), detectors, lambda paths, _: track(paths, options.backgrounds)
    )
    pictures.backgrounds, pictures.held_backgrounds = backgrounds[::2], backgrounds[1::2]
    return pictures


def _names(options: FinderOptions) -> dict[str, object]:
    """The options, with folders and files by their names: where they lie says nothing about the network."""
    one = {name: Path(getattr(options, name)).name for name in ("cfp", "backgrounds", "runs", "config")}
    many = {name: [Path(p).name for p in getattr(options, name)] for name in ("faces", "blazeface")}
    return {**asdict(options), **one, **many}


def _drawn(seed: int, index: int) -> FacePicture:
    image = cv2.GaussianBlur(draw_face(200, seed, index), (0, 0), 0.7)
    row = face_of_68(face_landmarks("w300", 200, seed, index))
    return FacePicture(image, row[None], np.zeros((0, 3)), f"drawn-{index}")
