"""The command `export-recogniser`: a recogniser for LiteRT and ONNX Runtime, with the landmark network in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_loss.export import convert
from kd_loss.export.files import Exporter
from kd_loss.recognition.card import SUFFIX, weights_file
from kd_loss.recognition.options import RecogniserExportOptions
from kd_loss.recognition.recogniser import load_recogniser
from kd_loss.recognition.scores import unit
from kd_loss.runtimes.files import open_runtime
from kd_loss.synthetic.persons import draw_person
from kd_loss.system.errors import UserError
from kd_loss.system.overwrite_guard import Claims

#: number of drawn faces for the comparison of a file with its network
FACES = 16
#: largest accepted mean difference, 1 − cosine
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-3}


def run_export_recogniser(options: RecogniserExportOptions) -> dict[Path, float]:
    """Write the files; returns file -> mean of 1 − cosine between its embeddings and Keras's, of drawn faces.

    Files take RGB 0…255 (B, S, S, 3), LiteRT's with B = 1, and return embeddings (B, D) of length 1.

    Raises:
        UserError: a file's embeddings differ by more than the tolerance; it is deleted, the others are kept.
    """
    options.check()
    convert.require_tensorflow()
    recogniser, given = load_recogniser(Path(options.weights)), weights_file(Path(options.weights))
    weights = given.with_name(given.name.removesuffix(SUFFIX) + ".h5")
    size = recogniser.card.size
    faces = np.stack(
        [draw_person(2 * size, 0, i, 0).image[size // 2 : -size // 2, size // 2 : -size // 2] for i in range(FACES)]
    )
    wanted = recogniser.embed(faces)

    def difference(found: np.ndarray) -> tuple[float, float]:
        apart = 1 - np.sum(unit(found) * wanted, axis=1)
        return float(apart.max()), float(apart.mean())

    exporter = Exporter(
        recogniser,
        weights,
        Path(options.output) if options.output else weights.parent / "export",
        faces.astype(np.float32),
        run=lambda path: next(iter(open_runtime(path)(faces.astype(np.float32)).values())),
        difference=difference,
        unit="of 1 − cosine",
        tolerance=TOLERANCE,
    )
    exported, refused = exporter.write(options.format, [options.precision], Claims(exporter.folder))
    for file in exported:
        size_mb = file.path.stat().st_size / 1e6
        print(
            f"{file.path}: {size_mb:.2f} MB, cosine to Keras's embeddings {1 - file.mean:.6f}, "
            f"at least {1 - file.largest:.6f}"
        )
    if refused:
        raise UserError(f"refused and not written, embeddings differ too much: {'; '.join(refused)}")
    return {file.path: file.mean for file in exported}
