"""Anything that turns crops into embeddings: a recogniser, its exports, another runtime's network, a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from kd_loss.recognition.card import STEP, RecogniserCard
from kd_loss.recognition.scores import unit
from kd_loss.runtimes.files import SUFFIXES, embedded_card, open_runtime
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.files import read_json
from kd_loss.training.teachers.foreign import in_one_line, in_other_runtime, open_function

if TYPE_CHECKING:
    from kd_loss.recognition.recogniser import Recogniser

#: crops (B, S, S, 3) uint8 RGB -> embeddings (B, D)
Ask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Embedder:
    """Crops -> embeddings of length 1.

    Attributes:
        ask: crops (B, S, S, 3) uint8 RGB -> embeddings (B, D).
        size: side of its crops in pixels; None: any.
        align: whether it was trained on aligned crops; None: unknown.
        persons: whom it was trained on; None: unknown.
        title: in words; recogniser: the network, if it is one of this package.
    """

    ask: Ask
    size: int | None
    align: bool | None = None
    persons: tuple[str, ...] | None = None
    title: str = "function"
    recogniser: Recogniser | None = None

    def embed(self, images: np.ndarray, mirror: bool = False) -> np.ndarray:
        """Embeddings (N, D) of length 1 of crops (N, S, S, 3) uint8 RGB, resized to its size.

        `mirror`: add those of the mirror images before.

        Raises:
            UserError: the answer is no embedding, or not finite.
        """
        parts = []
        step = STEP if self.recogniser is None else max(len(images), 1)  # which makes batches of its own
        for start in range(0, len(images), step):
            batch = self._resized(np.asarray(images[start : start + step]))
            found = self._checked(self.ask(batch), len(batch))
            parts.append(found + self._checked(self.ask(batch[:, :, ::-1].copy()), len(batch)) if mirror else found)
        return unit(np.concatenate(parts))

    def _resized(self, batch: np.ndarray) -> np.ndarray:
        if self.size is None or batch.shape[1] == self.size:
            return batch
        way = cv2.INTER_AREA if batch.shape[1] > self.size else cv2.INTER_LINEAR
        return np.stack([cv2.resize(image, (self.size, self.size), interpolation=way) for image in batch])

    def _checked(self, answer: Any, count: int) -> np.ndarray:
        values = np.asarray(answer, np.float32)
        if values.ndim != 2 or len(values) != count:
            raise UserError(f"{self.title} gives {values.shape} for {count} crops, not embeddings (B, D)")
        if not np.isfinite(values).all():
            raise UserError(f"{self.title} gives embeddings that are not finite")
        return unit(values)


def as_embedder(value: Any) -> Embedder:
    """An `Embedder` of a recogniser, a function of crops, or a file.

    Args:
        value: a `Recogniser`; a function, crops (B, S, S, 3) uint8 RGB -> (B, D); a recogniser's run folder or
            `.weights.h5`; a `.tflite` or `.onnx` exported from one, or another's with a card `{"size": 112}` beside it
            (and `range`, the values of black and white, and `layout`, nhwc or nchw); or `file.py:function`.
    """
    if isinstance(value, Embedder):
        return value
    if callable(value):
        return Embedder(value, None, title=getattr(value, "__name__", type(value).__name__))
    if isinstance(value, str | Path) and in_other_runtime(str(value)):
        text = str(value)
        return _of_function(text) if _is_function(text) else _of_file(Path(text))
    from kd_loss.recognition.recogniser import Recogniser, load_recogniser  # Keras, which exports do without

    return _of_recogniser(value if isinstance(value, Recogniser) else load_recogniser(Path(str(value))))


def _is_function(text: str) -> bool:
    return text.partition(":")[0].endswith(".py")


def _of_function(text: str) -> Embedder:
    function, source = open_function(text), Path(text.partition(":")[0])

    def ask(crops: np.ndarray) -> np.ndarray:
        with in_one_line(source, "fails on crops"):
            return np.asarray(function(crops), np.float32)

    return Embedder(ask, None, title=text)


def _known_persons(card: RecogniserCard) -> tuple[str, ...] | None:
    persons = card.training.get("persons")
    return None if persons is None else tuple(persons)


def _of_recogniser(recogniser: Recogniser) -> Embedder:
    card = recogniser.card
    persons, other = _known_persons(card), bool(card.training.get("other_maps"))
    title = f"{card.title}, another face's maps" if other else card.title
    return Embedder(
        lambda crops: recogniser.embed(crops, other_maps=other), card.size, card.align, persons, title, recogniser
    )


def _of_file(path: Path) -> Embedder:
    if not path.is_file():
        raise UserError(f"no such network: {path}")
    inside = embedded_card(path) if path.suffix in SUFFIXES else None
    own = RecogniserCard.from_dict(inside, f"the card inside {path}") if inside else None
    card = {"size": own.size} if own else _foreign_card(path)
    low, high = card.get("range", (0, 255))
    run = open_runtime(path)

    def ask(batch: np.ndarray) -> np.ndarray:
        x = batch.astype(np.float32) * ((high - low) / 255) + low
        if card.get("layout", "nhwc") == "nchw":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        try:
            outputs = run(x)
        except Exception as error:
            raise UserError(f"{path} does not run on crops of {card['size']} px: {first_line(error)}") from None
        return next(value for value in outputs.values() if value.ndim == 2)

    known = _known_persons(own) if own else None
    return Embedder(ask, int(card["size"]), own.align if own else None, known, path.name)


def _foreign_card(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise UserError(f'{path} has no card {beside.name} beside it, with at least its size: {{"size": 112}}')
    card = read_json(beside, "the card")
    low_high = card.get("range", [0, 255])
    sound = (
        type(card.get("size")) is int and 16 <= card["size"] <= 1024 and card.get("layout", "nhwc") in ("nhwc", "nchw")
    )
    sound = sound and isinstance(low_high, list) and len(low_high) == 2
    if not sound or not all(isinstance(n, int | float) for n in low_high):
        raise UserError(f"the card {beside} is malformed: size, range [0, 255], layout nhwc or nchw")
    return card
