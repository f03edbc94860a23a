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


def run_predict(options: PredictOptions) -> list[FaceLandmarks]:
    """Predict and write `<output>/<name>.png`, `.json` and `.pts`; returns the faces."""
    if not options.weights:
        raise UserError("give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} is less than 1")
    paths = find_pictures(options.sources)
    predictor = LandmarkPredictor.load(options.weights)
    faces: list[FaceLandmarks] = []
    for start in range(0, len(paths), options.batch_size):
        batch = paths[start : start + options.batch_size]
        images = []
        for path in batch:
            try:
                images.append(read_image(path))
            except BadSample as error:
                raise UserError(f"{path} {error}") from None
        for path, image, face in zip(batch, images, predictor.predict_many(images), strict=True):
            base = options.output / path.name
            with atomic_file(base.with_suffix(".png")) as temporary:
                temporary.write_bytes(encode_png(face.draw(image)))
            with atomic_file(base.with_suffix(".json")) as temporary:
                temporary.write_text(face.to_json() + "\n")
            with atomic_file(base.with_suffix(".pts")) as temporary:
                temporary.write_text(face.to_pts())
            faces.append(face)
            print(f"{path}: {len(face.landmarks)} landmarks -> {base.with_suffix('.png')}")
    return faces
