"""The command `embed`: the embeddings of images, as an array or a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.weights import default_weights, without_keras
from kd_loss.recognition.alignment import Cropper
from kd_loss.recognition.embedders import as_embedder
from kd_loss.recognition.options import EmbedOptions
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.terminal import counted


def run_embed(options: EmbedOptions) -> np.ndarray:
    """Write the embeddings of the images; returns them, (N, D) of length 1, in the order of the names.

    Raises:
        UserError: a file is no image, or an image has no face or two; nothing is written.
    """
    options.check()
    output = Path(options.output)
    claims = Claims(output.parent, [output.name, *([f"{output.stem}.txt"] if output.suffix == ".npy" else [])])
    paths = _pictures(options.pictures)
    embedder = as_embedder(options.weights)
    predictor = LandmarkPredictor.load(without_keras(Path(options.landmarks or default_weights())))
    align = options.align if embedder.align is None else embedder.align
    cropper = Cropper(predictor, embedder.size or options.size, align)
    names, crops, left_out = [], [], 0
    for path in paths:
        try:
            cropped = cropper([read_image(path, upright=True)])[0]
        except BadSample as error:
            if not options.skip_bad:
                raise UserError(f"{path} {error}; leave it out, or give --skip-bad") from None
            left_out += 1
            continue
        if cropped.faces != 1:
            if not options.skip_bad:
                what = "no face is found" if not cropped.faces else f"{cropped.faces} faces of like size are found"
                raise UserError(f"{path}: {what}; leave it out, or give --skip-bad")
            left_out += 1
            continue
        names.append(str(path))
        crops.append(cropped.image)
    if not crops:
        raise UserError("no image shows one face")
    found = embedder.embed(np.stack(crops), options.mirror)
    _write(output, names, found, claims)
    more = f"; {counted(left_out, 'image')} left out" if left_out else ""
    print(f"{output}: {len(found)} embeddings of {found.shape[1]} numbers{more}")
    return found


def _pictures(given: list[str]) -> list[Path]:
    paths: list[Path] = []
    for text in given:
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise UserError(f"{path} holds no images")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"no such image: {path}")
    return paths


def _write(output: Path, names: list[str], found: np.ndarray, claims: Claims) -> None:
    if output.suffix == ".npy":
        with atomic_file(output.with_suffix(".txt"), claims=claims) as path:
            path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
        with atomic_file(output, ".npy", claims) as path:
            np.save(path, found)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", *(f"e{i}" for i in range(found.shape[1]))])
    writer.writerows([name, *(f"{value:.6g}" for value in row)] for name, row in zip(names, found, strict=True))
    with atomic_file(output, claims=claims) as path:
        path.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")
