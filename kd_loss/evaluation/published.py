"""Published figures for comparison on official faces: NME in %, each with its own crops and training faces.

The authors of KD-Loss normalise WFLW by the pupils, not by the outer eye corners of the benchmark, so their figures
are listed with the inter-pupil ones. Their crops are stretched landmark boxes; other authors' crops and additional
training data differ as well, so that a tenth of a point between two rows is not meaningful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Published:
    """The published figures of one network.

    Attributes:
        who: the network; source: the publication of the figures.
        nme: report row -> NME in %.
        parameters: in millions, None if not published.
        normaliser: the distance that divides the errors.
        ablation: whether it belongs to a table only, not among the networks of a plot.
        failures: report row -> share of faces with an NME above 10 %, in %.
        checked: False for figures quoted from memory and not verified in their source.
    """

    who: str
    source: str
    nme: Mapping[str, float]
    parameters: float | None = None
    normaliser: str = "inter_ocular"
    failures: Mapping[str, float] = field(default_factory=dict)
    ablation: bool = False
    checked: bool = True

    @property
    def label(self) -> str:
        """The network, and that its figures are not verified."""
        return self.who if self.checked else f"{self.who} (not verified)"


def _w300(common: float | None, challenging: float | None, full: float) -> dict[str, float]:
    rows = {"common": common, "challenging": challenging, "full": full}
    return {row: value for row, value in rows.items() if value is not None}


_LOG = "log of the KD-Loss authors (aliprf/FLD-DD)"
_PAPER = "Fard & Mahoor, CVIU 2022"
_CUNJIAN = "README of cunjian/pytorch_face_landmark"
_TORCHLM = "README of torchlm"
_STAR = "table of STAR, CVPR 2023"


def _kd_loss(
    who: str,
    nme: Mapping[str, float],
    failures: Mapping[str, float],
    parameters: float = 2.4,
    source: str = _LOG,
    ablation: bool = False,
) -> Published:
    """A network of the authors of KD-Loss, who publish failures as well."""
    return Published(f"KD-Loss: {who}", source, nme, parameters, failures=failures, ablation=ablation)


#: dataset -> published figures, the largest error on its first row first
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "w300": (
        Published("ASMNet", "Fard et al., CVPRW 2021", _w300(4.82, 8.20, 5.50), 1.43),
        _kd_loss("bare MobileNetV2", _w300(3.93, 6.84, 4.50), _w300(0.18, 7.40, 1.59)),
        _kd_loss("tough teacher alone", _w300(3.85, 6.59, 4.39), _w300(0.18, 5.92, 1.30), ablation=True),
        _kd_loss("tolerant teacher alone", _w300(3.73, 6.41, 4.25), _w300(0.18, 4.44, 1.01), ablation=True),
        Published("MobileNetV2, 224 px", _CUNJIAN, _w300(3.70, 7.27, 4.39), 3.74),
        _kd_loss("student", _w300(3.56, 6.13, 4.06), _w300(0.18, 3.70, 0.87), source=_PAPER),
        Published("PFLD, 112 px, more faces", _CUNJIAN, _w300(3.49, 6.01, 3.97), 0.73),
        Published("PFLD 1X", "Guo et al., arXiv 1902.10859", _w300(None, None, 3.40), checked=False),
        Published("PIPNet, MobileNetV2", _TORCHLM, _w300(None, None, 3.40), 4.23),
        Published("PIPNet, ResNet-18", _TORCHLM, _w300(None, None, 3.36), 12.3),
        Published("ACR Loss, EfficientNet-B3", "Fard & Mahoor, ICPR 2022", _w300(3.36, 5.36, 3.75), 10.9),
        _kd_loss("tough teacher, EfficientNet-B3", _w300(3.34, 5.80, 3.82), _w300(0.00, 3.70, 0.72), 10.9),
        Published("MobileFaceNet, 112 px, more faces", _CUNJIAN, _w300(3.30, 5.69, 3.76), 1.01),
        Published("AWing", _STAR, _w300(None, None, 3.07), 24.0),
        Published("MobileFAN with distillation", "Zhao et al., 2019", _w300(2.98, 5.34, 3.45), 2.02, checked=False),
        Published("HRNetV2-W18", "README of HRNet-Facial-Landmark-Detection", _w300(2.91, 5.11, 3.34), 9.7),
        Published("SLPT", _STAR, _w300(2.75, 4.90, 3.17), 13.2),
        Published("SPIGA", "README of SPIGA", _w300(2.59, 4.66, 2.99)),
        Published("ADNet", "Huang et al., ICCV 2021", _w300(2.53, 4.58, 2.93), 13.4),
        Published("STAR", _STAR, _w300(2.52, 4.32, 2.87), 13.4),
    ),
    "cofw": (
        _kd_loss("bare MobileNetV2", {"full": 5.04}, {"full": 3.74}),
        _kd_loss("student", {"full": 4.11}, {"full": 2.37}, 2.3, _PAPER),
        _kd_loss("tough teacher, EfficientNet-B3", {"full": 3.81}, {"full": 1.97}, 10.9),
        Published("MobileFAN with distillation", "Zhao et al., 2019", {"full": 3.66}, 2.02, checked=False),
        Published("ACR Loss, EfficientNet-B3", "Fard & Mahoor, ICPR 2022", {"full": 3.47}, 10.9),
        Published("HRNetV2-W18", "README of HRNet-Facial-Landmark-Detection", {"full": 3.45}, 9.7),
        Published("PIPNet, MobileNetV2", _TORCHLM, {"full": 3.43}, 3.08),
        Published("SLPT", _STAR, {"full": 3.32}, 13.2),
        Published("PIPNet, ResNet-18", _TORCHLM, {"full": 3.31}, 12.3),
        Published("STAR", _STAR, {"full": 3.21}, 13.4),
    ),
    "wflw": (
        Published("KD-Loss: bare MobileNetV2", _LOG, {"full": 9.25, "pose": 18.73}, 2.5, "inter_pupil"),
        Published("KD-Loss: student", _PAPER, {"full": 8.57, "pose": 15.06}, 2.5, "inter_pupil"),
        Published("KD-Loss: teacher, EfficientNet-B3", _LOG, {"full": 6.98, "pose": 12.96}, 10.9, "inter_pupil"),
        Published("PFLD-GhostOne, 112 px", "AnthonyF333 on GitHub", {"full": 5.21}),
        Published("PIPNet, MobileNetV2", _TORCHLM, {"full": 4.79}, 5.11),
        Published("H3R, MobileNetV2, 128 px", "Yu & Tao, arXiv 2009.00225", {"full": 4.72}, 0.60),
        Published("HRNetV2-W18", "README of HRNet-Facial-Landmark-Detection", {"full": 4.60}, 9.7),
        Published("H3R, MobileNetV2, 256 px", "Yu & Tao, arXiv 2009.00225", {"full": 4.45}, 0.60),
        Published("SPIGA", "README of SPIGA", {"full": 4.06, "pose": 7.14}),
        Published("STAR", _STAR, {"full": 4.02}, 13.4),
    ),
}


def published_points(dataset: str, row: str, normaliser: str = "inter_ocular") -> list[tuple[str, float, float]]:
    """Return name, parameters in millions and NME in % on a report's row, where both are published.

    >>> [who for who, millions, _ in published_points("w300", "common") if millions < 2]
    ['ASMNet', 'PFLD, 112 px, more faces', 'MobileFaceNet, 112 px, more faces']
    """
    return [
        (p.label, p.parameters, p.nme[row])
        for p in PUBLISHED.get(dataset, ())
        if p.parameters is not None and row in p.nme and p.normaliser == normaliser and not p.ablation
    ]


def published_failures(dataset: str, row: str, normaliser: str = "inter_ocular") -> dict[str, float]:
    """Network -> published share of faces with an NME above 10 % on a report's row, in %.

    >>> published_failures("cofw", "full")["KD-Loss: student"]
    2.37
    """
    known = PUBLISHED.get(dataset, ())
    return {p.who: p.failures[row] for p in known if row in p.failures and p.normaliser == normaliser}


def beside_published(
    dataset: str,
    normaliser: str,
    rows: Sequence[str],
    own: Sequence[tuple[str, int | None, Mapping[str, float]]],
) -> dict[str, Any] | None:
    """Build a table of own and published figures by one normaliser; None if nothing is published for these rows.

    Args:
        dataset: the benchmark's name.
        normaliser: the distance by which errors are normalised; figures by others are omitted.
        rows: rows of the report whose official faces are complete.
        own: name, number of parameters (None: not known) and row -> NME in %, for each own network.
    """
    others = [p for p in PUBLISHED.get(dataset, ()) if p.normaliser == normaliser and p.nme.keys() & set(rows)]
    if not others:
        return None
    lines = [(name, parameters and parameters / 1e6, figures, "measured here") for name, parameters, figures in own] + [
        (p.label, p.parameters, p.nme, p.source) for p in others
    ]
    cells = [
        [
            who,
            "–" if not millions else f"{millions:.2f} M",
            *(f"{figures[row]:.2f}" if row in figures else "–" for row in rows),
            source,
        ]
        for who, millions, figures, source in lines
    ]
    return {"header": ["network", "parameters", *rows, "source"], "rows": cells}
