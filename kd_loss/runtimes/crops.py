"""A network as a function of crops, whatever file and runtime it came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_loss.errors import UserError
from kd_loss.networks.card import Card
from kd_loss.quiet import quiet_stderr
from kd_loss.runtimes.files import SUFFIXES, embedded_card, open_runtime
from kd_loss.terminal import at_once

if TYPE_CHECKING:
    from kd_loss.networks.landmark_net import LandmarkNet


@dataclass(frozen=True)
class CropNetwork:
    """Landmarks from crops.

    Attributes:
        card: what the network expects.
        runtime: `keras`, `onnxruntime` or `litert`.
        ask: crops (N, S, S, 3) uint8 RGB of the card's size -> normalised landmarks (N, K, 2), or the targets of
            the card's scheme, float32, and the spread of their heatmaps (N, K) in crop sides, None without heatmaps.
        parameters: their number, None where the file does not tell.
    """

    card: Card
    runtime: str
    ask: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    parameters: int | None = None

    @classmethod
    def of(cls, network: LandmarkNet) -> CropNetwork:
        """A Keras network that is in memory."""
        model, several = network.export_model(), network.card.head == "heatmap"

        def ask(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            answer = model.predict_on_batch(crops)
            return (np.asarray(answer[0]), np.asarray(answer[1])) if several else (np.asarray(answer), None)

        return cls(network.card, "keras", ask, network.model.count_params())

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Crops (N, S, S, 3) uint8 RGB -> normalised landmarks (N, K, 2), or the targets of the card's scheme."""
        return self.ask(crops)[0]


def read_card(path: Path) -> Card:
    """The card inside an export, or beside any other weights file."""
    inside = embedded_card(path) if path.suffix in SUFFIXES and path.is_file() else None
    return Card.read(path) if inside is None else Card.from_dict(inside, f"the card inside {path}")


def open_network(path: Path, threads: int | None = None) -> CropNetwork:
    """Open weights by their suffix: `.h5` and `.keras` in Keras, `.onnx` in ONNX Runtime, `.tflite` in LiteRT.

    Args:
        threads: of ONNX Runtime and LiteRT for one call; None leaves it to them.

    Raises:
        UserError: no such file, no card, a file that does not load or that does not fit its card.
    """
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    if path.suffix not in SUFFIXES:
        with quiet_stderr(), at_once():
            from kd_loss.networks.landmark_net import load_network

        return CropNetwork.of(load_network(path))
    card = read_card(path)
    session, shape = open_runtime(path, threads), card.scheme().shape

    def ask(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            outputs = sorted(session(crops).values(), key=lambda output: -output.ndim)
        except Exception as error:  # the runtimes raise what they like
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
            raise UserError(f"{path} does not run on crops of {card.size} pixels: {reason}") from None
        landmarks, spread = outputs[0], outputs[1] if len(outputs) > 1 else None
        if landmarks.shape != (len(crops), *shape) or (spread is not None and spread.shape != (len(crops), shape[0])):
            raise UserError(f"{path} gives {landmarks.shape} for {len(crops)} faces, its card says {shape[0]} points")
        return landmarks, spread

    network = CropNetwork(card, "onnxruntime" if path.suffix == ".onnx" else "litert", ask)
    ask(np.zeros((1, card.size, card.size, 3), np.uint8))
    return network
