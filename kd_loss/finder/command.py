"""The command `train-finder`."""

from __future__ import annotations

import zlib
from dataclasses import asdict
from pathlib import Path

import cv2
import keras
import numpy as np
from rich.progress import track

from kd_loss.datasets.folder import read_folder
from kd_loss.datasets.spec import W300
from kd_loss.datasets.synthetic import draw_face, face_landmarks
from kd_loss.datasets.w300 import TEST_PARTS, TRAIN_PARTS, read_w300
from kd_loss.detection.blazeface import BlazeFaceDetector
from kd_loss.errors import UserError
from kd_loss.finder.compose import Composer
from kd_loss.finder.faces import FacePicture, face_of_68, of_sample, read_backgrounds, read_cfp
from kd_loss.finder.network import build_finder
from kd_loss.finder.options import FinderOptions
from kd_loss.finder.targets import ComposedPictures, FinderLoss
from kd_loss.finder.write import write_finder
from kd_loss.training.acceleration import fused_batch_normalization
from kd_loss.training.run import open_run

#: which faces of a batch: of the first folder, of every other one, of CFP, drawn
SHARES = {"first": 0.45, "other": 0.15, "cfp": 0.35, "drawn": 0.05}
#: one in so many photographs, persons and backgrounds is kept apart
HELD_OUT = 10


def held_out(group: str) -> bool:
    """Whether a photograph or person is kept apart from the training; the same at every call."""
    return zlib.crc32(group.encode()) % HELD_OUT == 0


def run_train_finder(options: FinderOptions) -> Path:
    """Train; writes the network (`.tflite`, `.onnx`, `.h5`) and its card to the run's folder, which is returned.

    One in ten photographs and persons, and every second background, take no part in it; see `held_out`.
    """
    if not options.faces or not options.backgrounds:
        raise UserError("give --faces FOLDER… and --backgrounds FOLDER, e.g. --faces 300W --backgrounds scenes")
    for name in ("size", "input_size"):
        if getattr(options, name) % 32 or not 64 <= getattr(options, name) <= 1024:
            raise UserError(
                f"--{name.replace('_', '-')} {getattr(options, name)} is not a multiple of 32 from 64 to 1024"
            )
    if options.steps < 20 or options.batch_size < 1:
        raise UserError("--steps has to be at least 20 and --batch-size at least 1")
    keras.utils.set_random_seed(options.seed)
    faces, shares, backgrounds = read_pictures(options)
    folder = open_run(options.runs / "finder", options.name, "finder", _names(options), resume=False)
    print(f"faces: {', '.join(str(len(part)) for part in faces)}; backgrounds: {len(backgrounds)}")
    composer = Composer(faces, shares, backgrounds, options.size)
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
    return folder


def read_pictures(options: FinderOptions) -> tuple[list[list[FacePicture]], list[float], list[FacePicture]]:
    """Lists of pictures with a face, the share of each, and the backgrounds; what is held out is left out."""
    detectors = [BlazeFaceDetector(Path(path), 0.3) for path in options.blazeface]
    faces: list[list[FacePicture]] = []
    shares: list[float] = []
    for number, source in enumerate(options.faces):
        is_300w = any((Path(source) / part).is_dir() for part in TRAIN_PARTS + TEST_PARTS)
        archive = read_w300(Path(source)) if is_300w else read_folder(Path(source), W300, 0.1)
        samples = [s for s in archive.samples if s.split == "train" and not (is_300w and held_out(s.group))]
        faces.append([of_sample(sample, detectors) for sample in track(samples, source)])
        shares.append(SHARES["other" if number else "first"])
    if options.cfp:
        faces.append([picture for picture in read_cfp(Path(options.cfp)) if not held_out(picture.group)])
        shares.append(SHARES["cfp"])
    if options.drawn:
        faces.append([_drawn(options.seed, index) for index in range(options.drawn)])
        shares.append(SHARES["drawn"])
    backgrounds = read_backgrounds(
        Path(options.backgrounds), detectors, lambda paths, _: track(paths, options.backgrounds)
    )
    return faces, shares, backgrounds[::2]


def _names(options: FinderOptions) -> dict[str, object]:
    """The options, with folders and files by their names: where they lie says nothing about the network."""
    one = {name: Path(getattr(options, name)).name for name in ("cfp", "backgrounds", "runs", "config")}
    many = {name: [Path(p).name for p in getattr(options, name)] for name in ("faces", "blazeface")}
    return {**asdict(options), **one, **many}


def _drawn(seed: int, index: int) -> FacePicture:
    image = cv2.GaussianBlur(draw_face(200, seed, index), (0, 0), 0.7)
    row = face_of_68(face_landmarks("w300", 200, seed, index))
    return FacePicture(image, row[None], np.zeros((0, 3)), f"drawn-{index}")
