"""The command `show`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.datasets.contact_sheets import FILES, write_sheets
from kd_loss.datasets.prepared import open_dataset
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.overwrite_guard import Claims


@dataclass(frozen=True)
class ShowOptions(DatasetOptions):
    """Draw prepared faces with their points, numbers and mirrored pairs, and augmented samples, before training."""

    split: str = option("train", "split of the dataset", choices=("train", "test"))
    count: int = option(24, "faces on the sheet, spread evenly over the split", within=(1, 400))
    augment_strength: float = option(1.0, "strength of the augmentation shown", within=(0, 3), also="--augment")
    seed: int = option(0, "seed of the augmentation", within=(0, 2**32 - 1))
    output: str = option("", "folder for the two images; by default that of the dataset")


def run_show(options: ShowOptions) -> list[Path]:
    """Write `crops.png` and `augmented.png`; return their paths."""
    dataset = open_dataset(options.dataset, options.data)
    split = dataset.split(options.split)
    folder = Path(options.output) if options.output else dataset.folder
    write_sheets(split, folder, options.count, options.augment_strength, options.seed, Claims(folder, FILES))
    for name in FILES:
        print(folder / name)
    return [folder / name for name in FILES]
