"""Teachers of other runtimes: `.onnx`, `.tflite`, `.pt` and `.pt2` files with a small card, and Python functions.

A file has a card of the same name beside it (`mesh.tflite`, `mesh.json`):

    {"points": 468, "size": 192, "range": [0, 1], "unit": "pixels", "context": 1.15}

`range` gives the values of black and white; `layout` is `nhwc` or `nchw` (default of PyTorch's files); `unit` is the
unit of the coordinates: `pixels` of the input, `unit` (0…1 across it) or `centred` (−0.5…0.5, the default);
`dimensions` is 2 or, with a depth that is dropped, 3 (detected if possible); `context` widens the network's view
by that factor beyond the crop, for a network trained on wider crops; `output` names the output with the
landmarks, if it is not the first that fits; `taps` names further outputs, `{"embedding": "pool"}`.

A Python function is given as `file.py:function` and maps (B, S, S, 3) uint8 RGB crops to normalised
landmarks (B, M, 2), −0.5…0.5 across the crop, in NumPy, or to a dictionary of `landmarks` and other taps; for a
dataset of poses, to (B, 2, 3): rotation vector in radians, and x, y and log depth (`schemes.pose`). Its predictions
are recorded under the checksum of the file: if the weights that it loads change, the file must change too.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.runtimes import torch_files
from kd_loss.runtimes.files import SUFFIXES, open_runtime
from kd_loss.system.errors import UserError, choose, line_in
from kd_loss.system.files import read_json

Taps = dict[str, np.ndarray]


@dataclass(frozen=True)
class RuntimeCard:
    """Input and output of a network of another runtime; see the module."""

    points: int
    size: int
    range: tuple[float, float] = (0.0, 255.0)
    layout: str = "nhwc"
    unit: str = "centred"
    dimensions: int = 0
    context: float = 1.0
    output: str = ""
    taps: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, weights: Path) -> RuntimeCard:
        """Read the card beside a file; a `UserError` states what is missing or wrong."""
        path = weights.with_suffix(".json")
        if not path.is_file():
            raise UserError(f"{weights} has no card {path.name} next to it (with at least points and size)")
        values = read_json(path, "the card")
        names = [f.name for f in fields(cls)]
        values = {choose(key, names, f"entry of the card {path}"): value for key, value in values.items()}
        if not {"points", "size"} <= values.keys():
            raise UserError(f"the card {path} must have points and size")
        if weights.suffix in torch_files.SUFFIXES:
            values.setdefault("layout", "nchw")
        try:
            values["range"] = tuple(float(v) for v in values.get("range", (0, 255)))
            card = cls(**values)
            sound = 0 < card.points < 1e5 and 16 <= card.size <= 1024 and 1 <= card.context <= 4
            sound = sound and len(card.range) == 2 and card.dimensions in (0, 2, 3) and isinstance(card.taps, dict)
        except (TypeError, ValueError):
            sound = False
        if not sound:
            raise UserError(f"the card {path} is malformed")
        choose(card.layout, ("nhwc", "nchw"), f"layout of {path}")
        choose(card.unit, ("pixels", "unit", "centred"), f"unit of {path}")
        return card


class RuntimeTeacher:
    """Calls a network of another runtime, or a function, on faces `context` times wider than a crop."""

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        size: int | None,
        source: Path,
        context: float = 1.0,
        width: int = 2,
    ):
        self.function, self.size, self.source, self.context, self.width = function, size, source, context, width

    def __call__(self, images: np.ndarray) -> Taps:
        """Returns taps for images (B, S, S, 3) uint8 RGB, with landmarks (B, M, 2) normalised to these, all float32.

        For a target other than landmarks their shape is (B, M, `width`).

        Raises:
            UserError: the output has another form.
        """
        with in_one_line(self.source, "fails on faces"):
            answer = self.function(images)
        taps = {name: np.asarray(v, np.float32) for name, v in answer.items()} if isinstance(answer, dict) else {}
        points = taps.setdefault("landmarks", np.asarray(answer if not taps else np.empty(0), np.float32))
        if points.ndim != 3 or points.shape[2] != self.width or any(len(v) != len(images) for v in taps.values()):
            shapes = {name: values.shape for name, values in taps.items()}
            raise UserError(
                f"{self.source} returns {shapes} for {len(images)} faces, not landmarks (B, M, {self.width})"
            )
        if not all(np.isfinite(values).all() for values in taps.values()):
            raise UserError(f"{self.source} returns a value that is not finite")
        return taps


@contextlib.contextmanager
def in_one_line(source: Path, what: str) -> Iterator[None]:
    """One line for an error of a user's file or another runtime: it names the file and, for Python, the line."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        line = line_in(str(source.absolute()), error)
        where = f"{source}" if line is None else f"{source}, line {line}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"{where}: {what}: {type(error).__name__}: {reason}") from None


def in_other_runtime(text: str) -> bool:
    """Whether a teacher's file is not a Keras file."""
    return text.partition(":")[0].endswith((*SUFFIXES, *torch_files.SUFFIXES, ".py"))


def open_teacher(text: str, width: int = 2) -> RuntimeTeacher:
    """Open a `.onnx`, `.tflite`, `.pt` or `.pt2` file, or a `file.py:function`, which may return (B, M, width)."""
    name, _, function = text.partition(":")
    path = Path(name)
    if not path.is_file():
        raise UserError(f"no such teacher: {path}")
    if path.suffix == ".py":
        return RuntimeTeacher(_function(path, function), None, path, width=width)
    card = RuntimeCard.read(path)
    run = open_runtime(path)

    def predict(images: np.ndarray) -> Taps:
        outputs = run(encode(images, card))
        more = {tap: outputs[choose(name, outputs, f"output of {path}")] for tap, name in card.taps.items()}
        if card.output:
            outputs = {card.output: outputs[choose(card.output, outputs, f"output of {path}")]}
        return {"landmarks": decode(list(outputs.values()), card, path), **more}

    return RuntimeTeacher(predict, card.size, path, card.context)


def open_function(text: str) -> Callable[[np.ndarray], Any]:
    """The function of `file.py:function`; raises a `UserError` if there is none."""
    name, _, function = text.partition(":")
    if not Path(name).is_file():
        raise UserError(f"no such file: {name}")
    return _function(Path(name), function)


def _function(path: Path, name: str) -> Callable[[np.ndarray], Any]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    with in_one_line(path, "does not import"):
        spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise UserError(f"{path} has no function '{name}'; give it as {path.name}:function")
    return found


def encode(images: np.ndarray, card: RuntimeCard) -> np.ndarray:
    """Images (B, S, S, 3) uint8 as the network's input, float32."""
    batch = np.empty((len(images), card.size, card.size, 3), np.float32)
    for row, image in enumerate(images):
        smaller = image.shape[0] > card.size
        batch[row] = cv2.resize(
            image, (card.size, card.size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        )
    low, high = card.range
    batch = batch * ((high - low) / 255) + low
    return batch if card.layout == "nhwc" else np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def decode(outputs: list[np.ndarray], card: RuntimeCard, source: Path) -> np.ndarray:
    """The landmarks (B, M, 2), normalised to its input, among a network's outputs."""
    allowed = (card.dimensions,) if card.dimensions else (2, 3)
    for output in outputs:
        flat = output.reshape(len(output), -1)
        dimensions = flat.shape[1] / card.points
        if dimensions in allowed:
            points = flat.reshape(len(flat), card.points, int(dimensions))[..., :2].astype(np.float64)
            if card.unit == "pixels":
                points = (points + 0.5) / card.size - 0.5
            elif card.unit == "unit":
                points = points - 0.5
            return points
    shapes = ", ".join(str(output.shape) for output in outputs)
    raise UserError(f"no output of {source} has {card.points} points; their shapes are {shapes}")
