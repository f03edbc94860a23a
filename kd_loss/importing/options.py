"""The options of the command `import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.system.configuration import option
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class ImportOptions:
    """Write a native .h5 with a card from a Keras 2 file (a whole model or weights alone); predictions stay."""

    old: str = option("", "the old .h5", positional=True)
    dataset: str = option("", "w300, cofw, wflw, …: the scheme of its landmarks, or a name for that of --spec")
    spec: str = option("", "JSON file that describes landmarks of your own, as for prepare")
    convention: str = option(
        "",
        "kd-loss: (112 − p)/224, RGB of 0…1; native: −0.5…0.5 across the crop, RGB of 0…255; unit: 0…1 across "
        "it; pixels: of the input",
        choices=("kd-loss", "native", "unit", "pixels"),
    )
    range: str = option(
        "",
        "of the pictures: bytes (0…255), unit (0…1), signed (−1…1) or imagenet; kd-loss has unit, others bytes",
        choices=("bytes", "unit", "signed", "imagenet"),
    )
    first_pixel: float | None = option(
        None,
        "kd-loss and pixels: the coordinate of the first pixel's centre; 0.5 for kd-loss (a crop spans 0…224), "
        "0 for pixels",
        within=(0, 1),
    )
    role: str = option("student", "student, tough or tolerant", choices=("student", "tough", "tolerant"))
    margin: float | None = option(
        None, "of the crops that it was trained on, see prepare; 0.05 for kd-loss, otherwise 0.15", within=(0, 2)
    )
    size: int = option(0, "side of the input in pixels, where the file does not say; 224 if left out")
    output: Path | None = option(None, "the new .h5; OLD-native.h5 beside the old one if left out")
    config: str = option("", "JSON or TOML file with options; those of the command line win")

    def check(self) -> None:
        """Refuse what is no file."""
        if not self.old:
            raise UserError("give the old file, e.g. kd-loss import old.h5 --dataset w300 --convention kd-loss")
