"""A network as a function of crops, independent of its file format and runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.networks.card import Card
from kd_loss.runtimes.files import SUFFIXES, embedded_card, open_runtime
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.terminal import at_once, quiet_stderr

if TYPE_CHECKING:
    from kd_loss.networks.landmark_net import LandmarkNet

#: the spread, of a heatmap and of two predictions, in crop sides, at which a landmark's confidence is one half
HALF_OF_MAPS, HALF_OF_ANSWERS = 0.05, 0.03


#: landmarks, their spread and their visibility, see `CropNetwork`
Seen = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]


@dataclass(frozen=True)
class CropNetwork:
    """Predicts landmarks from crops.

    Attributes:
        card: what the network expects.
        runtime: `keras`, `onnxruntime` or `litert`.
        predict_all: crops (N, S, S, 3) uint8 RGB of the card's size -> normalised landmarks (N, K, 2), or the targets
            of the card's scheme, float32; their spread (N, K) in crop sides: that of heatmaps, or see `mirrored`; and
            the visibility (N, K) 0…1 of each landmark. None for what the network has not.
        parameters: number of parameters, None if the file does not record it.
        half: the spread at which a landmark's confidence is one half; None if, by its card, the spread of its
            heatmaps does not indicate confidence.
        again: a function and arguments that recreate the network in another process, for pickling; None:
            `predict_all` itself is pickled.
    """

    card: Card
    runtime: str
    predict_all: Callable[[np.ndarray], Seen]
    parameters: int | None = None
    half: float | None = None
    again: tuple[Callable[..., CropNetwork], tuple[Any, ...]] | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the recipe: a file by its path, a Keras network as itself."""
        if self.again is None:
            values = tuple(getattr(self, f.name) for f in fields(self))
            return type(self), values
        return self.again

    @classmethod
    def of(cls, network: LandmarkNet) -> CropNetwork:
        """Wrap a Keras network in memory."""
        model, several = network.export_model(), network.has_spread or network.card.visibility
        points = seen_points(network.card)
        alone = threading.Lock()  # Keras builds its function at the first call

        def see(crops: np.ndarray) -> Seen:
            with alone:
                answer = model.predict_on_batch(crops)
            first, *more = answer if several else (answer,)
            return np.asarray(first), *_parted(points, *map(np.asarray, more))

        number = network.model.count_params()
        return cls(network.card, "keras", see, number, half_of(network.card), (_of, (network,)))

    def predict_with_spread(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Crops (N, S, S, 3) uint8 RGB -> normalised landmarks (N, K, 2) and their spread (N, K) or None."""
        return self.predict_all(crops)[:2]

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Crops (N, S, S, 3) uint8 RGB -> normalised landmarks (N, K, 2), or the targets of the card's scheme."""
        return self.predict_all(crops)[0]


def _of(network: LandmarkNet) -> CropNetwork:
    return CropNetwork.of(network)


def seen_points(card: Card) -> int:
    """For how many points a network predicts whether they are visible; 0 if it does not."""
    return card.scheme().shape[0] if card.visibility else 0


def _parted(points: int, second: np.ndarray | None = None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Spread and visibility (N, K) from the second output of an export, see `LandmarkNet.export_model`."""
    if second is None or not points:
        return second, None
    return (second[:, :points] if second.shape[1] == 2 * points else None), second[:, -points:]


def half_of(card: Card) -> float | None:
    """`CropNetwork.half` of a network's own spread."""
    return HALF_OF_MAPS if card.confident else None


def mirrored(network: CropNetwork) -> CropNetwork:
    """A network that predicts the mean over a crop and its mirror image, at twice the cost.

    The spread (N, K) of landmarks is the distance between the two predictions: the point's own plus the mean over its
    face. Where they disagree the network's error is larger, even if the spread of its heatmaps is uninformative.

    Raises:
        UserError: a mirrored face is not a valid face of the network's scheme.
    """
    scheme = network.card.scheme()
    if not scheme.mirrors:
        raise UserError(f"--flip-test: a mirrored face is not valid for {network.card.dataset}")
    turned = geometry.similarity(0.0, 1.0, (0, 0), True)

    def see(crops: np.ndarray) -> Seen:
        found, _, visible = network.predict_all(np.concatenate([crops, crops[:, :, ::-1]]))
        answers = np.asarray(found, np.float64)
        first, second = answers[: len(crops)], scheme.move(answers[len(crops) :], turned, True)
        mean = ((first + second) / 2).astype(np.float32)
        if scheme.shape[1] != 2:
            return mean, None, None
        if visible is not None:
            assert isinstance(scheme, LandmarkScheme)  # poses have no visibility
            visible = (visible[: len(crops)] + visible[len(crops) :, scheme.flip_index]) / 2
        apart = np.linalg.norm(first - second, axis=-1)
        return mean, (apart + apart.mean(axis=1, keepdims=True)).astype(np.float32), visible

    return replace(network, predict_all=see, half=HALF_OF_ANSWERS, again=(mirrored, (network,)))


def read_card(path: Path) -> Card:
    """Read the card inside an export, or beside any other weights file."""
    inside = embedded_card(path) if path.suffix in SUFFIXES and path.is_file() else None
    return Card.read(path) if inside is None else Card.from_dict(inside, f"the card inside {path}")


def open_network(path: Path, threads: int | None = None) -> CropNetwork:
    """Open weights by their suffix: `.h5` and `.keras` in Keras, `.onnx` in ONNX Runtime, `.tflite` in LiteRT.

    Args:
        path: the weights file, with its card next to it or inside.
        threads: number per call in ONNX Runtime and LiteRT; None: two in LiteRT, one on a single core, and ONNX
            Runtime's default.

    Raises:
        UserError: the file is missing, has no card, does not load or does not match its card.
    """
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    if path.suffix not in SUFFIXES:
        with quiet_stderr(), at_once():
            from kd_loss.networks.landmark_net import load_network

        return replace(CropNetwork.of(load_network(path)), again=(open_network, (path.absolute(), threads)))
    card = read_card(path)
    session, shape, points = open_runtime(path, threads), card.scheme().shape, seen_points(card)

    def see(crops: np.ndarray) -> Seen:
        try:
            outputs = sorted(session(crops).values(), key=lambda output: -output.ndim)
        except Exception as error:  # the runtimes raise errors of any type
            reason = first_line(error)
            raise UserError(f"{path} does not run on crops of {card.size} pixels: {reason}") from None
        landmarks, second = outputs[0], outputs[1] if len(outputs) > 1 else None
        widths = (shape[0], 2 * shape[0]) if card.visibility else (shape[0],)
        fits = second is None or (second.ndim == 2 and len(second) == len(crops) and second.shape[1] in widths)
        if landmarks.shape != (len(crops), *shape) or not fits or (card.visibility and second is None):
            raise UserError(f"{path} gives {landmarks.shape} for {len(crops)} faces, its card says {shape[0]} points")
        return landmarks, *_parted(points, second)

    runtime = "onnxruntime" if path.suffix == ".onnx" else "litert"
    network = CropNetwork(card, runtime, see, half=half_of(card), again=(open_network, (path.absolute(), threads)))
    see(np.zeros((1, card.size, card.size, 3), np.uint8))
    return network
