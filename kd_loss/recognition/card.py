"""The card of a recognition network, and what its structure can be; needs no Keras."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from kd_loss.networks.card import WeightsCard
from kd_loss.system.errors import UserError

#: what a file of weights ends in, its card `<path>.json` beside it
SUFFIX = ".weights.h5"
#: images in one step of inference
STEP = 64
ARCHITECTURES = ("ir", "mobile")
#: `h2`: heatmaps stacked on the image; `h2+`: also before every loss of resolution
HEATMAPS = ("none", "h2", "h2+")
DYNAMIC = ("none", "dynamic", "group")
#: ways to integrate feature maps; `1m` does so after every unit of a stage, the others after its last one
FEATURES = ("none", "bl", "sl", "al", "1m")


def weights_file(path: Path) -> Path:
    """The file of weights that a path stands for: of a run's folder the best epoch's."""
    return path / f"best{SUFFIX}" if path.is_dir() else path


def card_beside(weights: Path) -> RecogniserCard:
    """The card of a file of weights `<path>.weights.h5`."""
    return RecogniserCard.read(weights.with_name(weights.name.removesuffix(SUFFIX) + ".h5"))


@dataclass(frozen=True)
class RecogniserCard(WeightsCard):
    """The inputs, structure and training of a recognition network: `best.json` beside `best.weights.h5`.

    Attributes:
        arch: `ir` or `mobile`; alpha: multiplier of its channels; units: of the four stages of `ir`.
        size: side of the input in pixels; embedding: numbers of an embedding; dropout: before its dense layer.
        align: whether its crops are aligned by five points.
        heatmaps, features: how a landmark network's maps are integrated, see `HEATMAPS` and `FEATURES`.
        dynamic: kind of the convolutions of the last three stages; temperature: T of their routing.
        maps: tap of the landmark network -> its shape (h, w, C); empty without integration.
        landmark_card: card of the landmark network, whose weights are in the same file; None without one.
        training, metrics, versions: as in `networks.Card`.
    """

    size: int
    embedding: int
    units: tuple[int, ...] = (2, 2, 2, 2)
    dropout: float = 0.4
    align: bool = True
    heatmaps: str = "none"
    features: str = "none"
    dynamic: str = "none"
    temperature: float = 4.0
    maps: dict[str, Any] = field(default_factory=dict)
    landmark_card: dict[str, Any] | None = None
    kind: str = "recogniser"
    inputs: str = "RGB, 0…255, (B, size, size, 3)"
    outputs: str = "embeddings (B, D) of length 1; compare them by their cosine"
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    REMEDY: ClassVar[str] = "; kd-loss train-recogniser writes both"

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Self:
        """A card from plain values; malformed ones and other networks' cards raise a `UserError`."""
        if values.get("kind") != "recogniser":
            raise UserError(f"{where} is no recognition network's; kd-loss train-recogniser trains one")
        card = cls._of_known({**values, "units": tuple(values.get("units", ()))})
        numbers = (card.alpha, card.size, card.embedding, card.temperature, *card.units)
        sound = all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n <= 4096 for n in numbers)
        sound = sound and type(card.size) is int and type(card.embedding) is int and len(card.units) == 4
        sound = sound and card.arch in ARCHITECTURES and card.heatmaps in HEATMAPS and card.features in FEATURES
        sound = sound and card.dynamic in DYNAMIC and isinstance(card.maps, dict) and isinstance(card.training, dict)
        sound = sound and isinstance(card.dropout, int | float) and 0 <= card.dropout < 1
        if not sound or (card.integrated and not card.maps):
            raise UserError(f"{where} is malformed")
        return card

    @property
    def integrated(self) -> bool:
        """Whether it takes maps of a landmark network."""
        return (self.heatmaps, self.features) != ("none", "none")

    @property
    def title(self) -> str:
        """Its structure in a few words: `ir 2-2-2-2 × 0.25, h2, bl`."""
        units = f" {'-'.join(map(str, self.units))}" if self.arch == "ir" else ""
        more = [kind for kind in (self.heatmaps, self.features, self.dynamic) if kind != "none"]
        return ", ".join([f"{self.arch}{units} × {self.alpha:g}", *more])
