"""The command `predict`."""

from __future__ import annotations

from pathlib import Path

from kd_loss.datasets.sample import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.errors import UserError
from kd_loss.files import atomic_file
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
    """Predict and write `<output>/<name>.png`, `.json` and `.pts`; returns the faces."""
    if not options.weights:
        raise UserError("give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is less than 1")
    paths = find_pictures(options.sources)
    bases = dict(zip(paths, result_names(paths, options.output), strict=True))
    predictor = LandmarkPredictor.load(options.weights)
    faces: list[FaceLandmarks] = []
    for start in range(0, len(paths), options.batch_size):
        batch = paths[start : start + options.batch_size]
        images = []
        for path in batch:
            try:
                images.append(read_image(path, upright=True))
            except BadSample as error:
                raise UserError(f"{path} {error}") from None
        for path, image, face in zip(batch, images, predictor.predict_many(images), strict=True):
            base = bases[path]
            with atomic_file(base.with_name(base.name + ".png")) as temporary:
                temporary.write_bytes(encode_png(face.draw(image)))
            with atomic_file(base.with_name(base.name + ".json")) as temporary:
                temporary.write_text(face.to_json() + "\n")
            with atomic_file(base.with_name(base.name + ".pts")) as temporary:
                temporary.write_text(face.to_pts())
            faces.append(face)
            print(f"{path}: {len(face.landmarks)} landmarks -> {base.with_suffix('.png')}")
    return faces
