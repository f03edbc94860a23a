"""The card of a weights file: `best.json` beside `best.h5` describes the network's inputs and outputs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from kd_loss.schemes.base import Scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.registry import landmark_scheme, scheme_of
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, write_json

#: the metric for whether a wide heatmap means a large error: their rank correlation on the held-out faces
SPREAD_CORRELATION = "spread_correlation"
#: lowest correlation at which a spread indicates confidence
MEANINGFUL = 0.3


@dataclass(frozen=True)
class WeightsCard:
    """What the cards of all networks share: how they are written and read.

    Attributes:
        arch, alpha: backbone and width multiplier.
        REMEDY: the end of the message about a missing card.
    """

    REMEDY: ClassVar[str] = ""

    arch: str
    alpha: float

    def write(self, weights: Path) -> None:
        """Write the card of a weights file."""
        write_json(weights.with_suffix(".json"), asdict(self))

    @classmethod
    def read(cls, weights: Path) -> Self:
        """Read the card of a weights file; raises a `UserError` if it is missing, incomplete or malformed."""
        path = weights.with_suffix(".json")
        if not path.is_file():
            raise UserError(f"{weights} has no card {path.name} next to it{cls.REMEDY}")
        return cls.from_dict(read_json(path, "the card"), f"the card {path}")

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Self:
        """A card from plain values; a `UserError` that starts with `where` for incomplete or malformed ones."""
        raise NotImplementedError

    @classmethod
    def _of_known(cls, values: dict[str, Any]) -> Self:
        """A card from the values that it knows; other versions may have written more."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True)
class Card(WeightsCard):
    """The inputs, outputs and accuracy of a network.

    Attributes:
        head: `pooled` or `heatmap`, see `networks.heads`; cut: where the backbone ends, `P5` for the whole.
        dataset: the name of the dataset; spec: its scheme, as plain values.
        size: side of the input in pixels, RGB 0…255.
        role: `student`, `tough` or `tolerant`.
        margin: of the crop, see `geometry.square_crop`.
        visibility: whether it has a second output, how likely each landmark is visible, see `networks.visibility`.
        calibration: from a detector's box to the landmark box, see `detection.calibration`; empty if not measured.
        taps: tap name -> layer name.
        outputs: the meaning of the numbers of the target.
        metrics: NME in % and the like, by split.
        training: method, teachers, epochs, seed, data, checksum of the data.
        versions: versions of the packages that wrote the file.
        license: the terms of the weights, in words or as an SPDX name; empty if nobody has stated them.
    """

    REMEDY: ClassVar[str] = "; a network from elsewhere gets one by kd-loss import"

    dataset: str
    spec: dict[str, Any]
    size: int
    role: str
    margin: float
    head: str = "pooled"
    cut: str = "P5"
    visibility: bool = False
    calibration: dict[str, Any] = field(default_factory=dict)
    taps: dict[str, str] = field(default_factory=dict)
    inputs: str = "RGB, 0…255, (B, size, size, 3)"
    outputs: str = "(B, K, 2) as (x, y), −0.5…0.5 across the crop"
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    license: str = ""

    def scheme(self) -> Scheme:
        """The scheme of the network's targets."""
        return scheme_of(self.spec, "the card's spec")

    def landmark_scheme(self) -> LandmarkScheme:
        """The scheme of the network's landmarks; raises a `UserError` for a network with other targets."""
        scheme = self.scheme()
        return landmark_scheme(
            scheme, f"a network of {self.dataset} predicts a {scheme.noun}; landmarks are required here"
        )

    @property
    def confident(self) -> bool:
        """Whether the measured spread of its heatmaps indicates the network's confidence in a landmark."""
        value = self.metrics.get(SPREAD_CORRELATION)
        return isinstance(value, int | float) and value >= MEANINGFUL

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Self:
        """A card from plain values; a `UserError` that starts with `where` for incomplete or malformed ones."""
        missing = {"arch", "alpha", "dataset", "spec", "size", "role", "margin"} - values.keys()
        if missing:
            raise UserError(f"{where} lacks {', '.join(sorted(missing))}")
        card = cls._of_known(values)
        numbers, texts = (
            (card.alpha, card.margin),
            (card.arch, card.dataset, card.role, card.head, card.cut, card.license),
        )
        if type(card.size) is not int or not 16 <= card.size <= 1024:
            raise UserError(f"{where} names an input size of {card.size!r}")
        sound = all(isinstance(n, int | float) and 0 <= n < 10 for n in numbers)
        sound = sound and all(isinstance(text, str) for text in texts)
        tables = (card.taps, card.metrics, card.training, card.versions, card.calibration)
        sound = sound and all(isinstance(table, dict) for table in tables)
        sound = sound and isinstance(card.visibility, bool)
        if not sound or not all(isinstance(layer, str) for layer in card.taps.values()):
            raise UserError(f"{where} is malformed")
        card.scheme()
        return card
