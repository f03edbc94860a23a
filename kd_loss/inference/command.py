"""The command `predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_loss.datasets.sample import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.detection import HaarDetector
from kd_loss.errors import UserError, choose
from kd_loss.files import atomic_file, write_json
from kd_loss.inference.drawing import encode_png
from kd_loss.inference.options import PredictOptions
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.result import FaceLandmarks


def find_pictures(sources: list[str]) -> list[Path]:
    """The files named, and the pictures of the folders named, in order; `UserError` if there is none."""
    paths: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            found = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise UserError(f"no picture in the folder {source}")
            paths += found
        elif source.is_file():
            paths.append(source)
        else:
            raise UserError(f"no such picture: {source}")
    if not paths:
        raise UserError("give a picture, e.g. kd-loss predict --weights best.h5 face.jpg")
    return paths


def result_names(paths: list[Path], output: Path) -> list[Path]:
    """A path without suffix for each picture's results: its stem, or its whole name where stems collide.

    `UserError` where results would overwrite each other, or lie in a folder of the pictures themselves.
    """
    for path in paths:
        if path.resolve().parent == output.resolve():
            raise UserError(f"{path} lies in the folder of the results; give another --output")
    stems = [path.stem for path in paths]
    names = [path.stem if stems.count(path.stem) == 1 else path.name.replace(".", "_") for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"several pictures are called {twice}; predict them one folder at a time")
    return [output / name for name in names]


def run_predict(options: PredictOptions) -> list[FaceLandmarks]:
    """Predict and write `<output>/<name>.png` and `.json`, and a `.pts` for each face; returns the faces."""
    if not options.weights:
        raise UserError("give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is less than 1")
    if not 0 <= options.refine <= 10:
        raise UserError(f"--refine {options.refine} is not in 0…10")
    detect = HaarDetector() if choose(options.detector, ("none", "haar"), "detector") == "haar" else None
    paths = find_pictures(options.sources)
    bases = dict(zip(paths, result_names(paths, options.output), strict=True))
    predictor = LandmarkPredictor.load(options.weights)
    faces: list[FaceLandmarks] = []
    for start in range(0, len(paths), 1 if detect else options.batch_size):
        batch = paths[start : start + (1 if detect else options.batch_size)]
        images = [_read(path) for path in batch]
        if detect:
            found = [predictor.detect(images[0], detect, options.refine)]
        else:
            found = [[face] for face in predictor.predict_many(images)]
        for path, image, here in zip(batch, images, found, strict=True):
            _write(bases[path], image, here)
            faces += here
            many = (
                f"{len(here)} faces of {predictor.spec.points} landmarks"
                if detect
                else f"{predictor.spec.points} landmarks"
            )
            print(f"{path}: {many} -> {bases[path].with_name(bases[path].name + '.png')}")
    return faces


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path, upright=True)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None


def _write(base: Path, image: np.ndarray, faces: list[FaceLandmarks]) -> None:
    """The results of one picture; a second face's points are `<name>-2.pts`."""
    drawn = image
    for face in faces:
        drawn = face.draw(drawn)
    with atomic_file(base.with_name(base.name + ".png")) as temporary:
        temporary.write_bytes(encode_png(drawn))
    write_json(base.with_name(base.name + ".json"), {"faces": [face.to_dict() for face in faces]})
    for number, face in enumerate(faces, 1):
        name = base.name + (f"-{number}" if number > 1 else "") + ".pts"
        with atomic_file(base.with_name(name)) as temporary:
            temporary.write_text(face.to_pts())
