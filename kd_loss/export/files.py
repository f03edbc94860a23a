"""The files of an export: each is converted, run, compared with its network, and only then gets its final name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kd_loss.export import convert
from kd_loss.export.convert import Exportable
from kd_loss.system.files import atomic_file, atomic_folder, write_json
from kd_loss.system.overwrite_guard import Claims, check_replaceable
from kd_loss.system.terminal import quiet_stderr

log = logging.getLogger(__name__)

SUFFIX = {"litert": ".tflite", "onnx": ".onnx"}
FORMATS = (*SUFFIX, "saved_model", "web")


@dataclass(frozen=True)
class Exported:
    """A file (the network of a page, the folder of a SavedModel), its predictions, and their distance from Keras's.

    Attributes:
        name: within the folder of the exports.
        predicted: (N, …), on the inputs of the comparison.
        largest, mean: differences, in the unit of the comparison.
    """

    name: str
    format: str
    precision: str
    path: Path
    predicted: np.ndarray
    largest: float
    mean: float


class Refused(Exception):
    """An export differs from its network by more than the tolerance."""


@dataclass(frozen=True)
class Exporter:
    """Writes a network for other runtimes into a folder.

    Attributes:
        weights: the network's file, which gives the exports their names.
        inputs: inputs of the comparison, RGB 0…255, (N, S, S, 3).
        run: opens a `.tflite` or `.onnx` file and returns its predictions on the inputs.
        difference: the largest and the mean difference of predictions from the network's own, in `unit`.
        tolerance: precision -> largest accepted mean difference.
        calibration: crops (N, S, S, 3) uint8, for int8.
        web_runtime: see `web.write_page`.
    """

    network: Exportable
    weights: Path
    folder: Path
    inputs: np.ndarray
    run: Callable[[Path], np.ndarray]
    difference: Callable[[np.ndarray], tuple[float, float]]
    unit: str
    tolerance: Mapping[str, float]
    calibration: np.ndarray | None = None
    web_runtime: str = ""

    def write(
        self, formats: Sequence[str], precisions: Sequence[str], claims: Claims
    ) -> tuple[list[Exported], list[str]]:
        """Write every format in every precision, a page in the first one.

        Args:
            formats: `tflite`, `onnx`, `saved_model` or `web`.
            precisions: `fp32`, `fp16` or `int8`; a format that lacks one is skipped with a warning.
            claims: claims of the folder; the files are recorded in it as they are written.

        Returns:
            The files written, and those rejected because they differ too much, with the reason.

        Raises:
            UserError: a file that no export wrote is in the way; nothing is written then.
        """
        self._check_targets(formats, precisions, claims)
        written, refused = [], []
        for kind in formats:
            for precision in precisions[:1] if kind == "web" else precisions:
                if kind == "saved_model" and precision != "fp32":
                    log.warning(f"saved_model is a float32 format; {precision} is skipped")
                    continue
                path, start = self.folder / self._name(kind, precision), time.perf_counter()
                try:
                    with convert.needed(kind):
                        written.append(self._write(kind, precision, path, claims))
                except Refused as error:
                    refused.append(f"{path.name} ({error})")
                    continue
                if kind == "web":
                    print(f"{path}: a web page; to view it: python -m http.server -d {path}, http://localhost:8000")
                else:
                    log.info(f"{path}: {time.perf_counter() - start:.0f} s")
        return written, refused

    def _name(self, kind: str, precision: str) -> str:
        return f"{self.weights.stem}-{kind if kind == 'web' else precision}{SUFFIX.get(kind, '')}"

    def _check_targets(self, formats: Sequence[str], precisions: Sequence[str], claims: Claims) -> None:
        """Check, before the first conversion, that only files and folders of an export would be replaced."""
        for kind in set(formats) & {"saved_model", "web"}:
            check_replaceable(self.folder / self._name(kind, "fp32"))
        for kind in set(formats) & set(SUFFIX):
            for precision in precisions:
                claims.check(self.folder / self._name(kind, precision))

    def _write(self, kind: str, precision: str, path: Path, claims: Claims) -> Exported:
        def compared(predicted: np.ndarray) -> Exported:
            largest, mean = self.difference(predicted)
            limit = self.tolerance[precision]
            if not mean <= limit:
                raise Refused(f"mean {mean:.3f} {self.unit}, allowed {limit:g}")
            file = path / "model.onnx" if kind == "web" else path
            return Exported(file.relative_to(self.folder).as_posix(), kind, precision, file, predicted, largest, mean)

        if kind == "web":
            from kd_loss.export.web import write_page

            runtime, calibration = self.web_runtime, self.calibration
            return write_page(self.network, path, runtime, precision, calibration, lambda p: compared(self.run(p)))
        if kind == "saved_model":
            with atomic_folder(path) as temporary:
                with quiet_stderr():
                    convert.to_saved_model(self.network, temporary)
                    predicted = _serve(temporary, self.inputs)
                exported = compared(predicted)
                write_json(temporary / "card.json", asdict(self.network.card))
            return exported
        with atomic_file(path, SUFFIX[kind], claims) as temporary, quiet_stderr():
            to_file = convert.to_litert if kind == "litert" else convert.to_onnx
            to_file(self.network, temporary, precision, self.calibration)
            return compared(self.run(temporary))


def _serve(folder: Path, inputs: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    module = tf.saved_model.load(str(folder))
    parts = [module.serve(inputs[i : i + 32].astype(np.float32)) for i in range(0, len(inputs), 32)]
    return np.concatenate([(part[0] if isinstance(part, list | tuple) else part).numpy() for part in parts])
