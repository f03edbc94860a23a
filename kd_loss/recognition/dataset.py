"""A prepared dataset of persons: crops, their landmarks, who they show, and the pairs to tell apart.

`data/<name>/{train,test}/` holds `images.npy` (N, S, S, 3) uint8 RGB, `landmarks.npy` (N, 68, 2) normalised to the
crop, `person.npy` and `name.npy` (N,), `found.npy` (N,) and `attribute-….npy`; `test/pairs.npy` (P, 4) has the numbers
of two images, whether they show the same person, and the fold; `test/protocol.npy` (P,) the protocol of each pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.checks import open_array
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import read_json

KIND = "persons"


@dataclass(frozen=True)
class Pairs:
    """The pairs of one protocol: numbers of images (P, 2), same (P,) bool, fold (P,) from 1."""

    name: str
    rows: np.ndarray
    same: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True)
class Persons:
    """One split of a prepared dataset of persons; images are read by memory map.

    Attributes:
        images: (N, S, S, 3) uint8 RGB; landmarks: (N, 68, 2) normalised.
        person, name: (N,) whom each image shows, and its file.
        found: (N,) bool, whether a face was found; otherwise the crop is the middle of the image.
        attributes: name -> (N,) numbers.
        pairs: by protocol.
    """

    images: np.ndarray
    landmarks: np.ndarray
    person: np.ndarray
    name: np.ndarray
    found: np.ndarray
    attributes: dict[str, np.ndarray]
    pairs: tuple[Pairs, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def persons(self) -> list[str]:
        """The persons, sorted."""
        return [str(person) for person in np.unique(self.person)]

    @cached_property
    def labels(self) -> np.ndarray:
        """The number of each image's person, (N,)."""
        return np.unique(self.person, return_inverse=True)[1]


@dataclass(frozen=True)
class PersonsDataset:
    """A prepared dataset of persons, see `open_persons`."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return int(self.manifest["size"])

    @property
    def checksum(self) -> str:
        """Of the training images and their persons."""
        known = self.manifest["sha256"]
        return "-".join(str(known.get(f"train/{name}.npy", ""))[:32] for name in ("images", "person"))

    def split(self, name: str) -> Persons:
        """The training or the test images; raises a `UserError` if there are none."""
        folder = self.folder / name
        if not (folder / "images.npy").is_file():
            raise UserError(f"{self.folder} has no {name} images; prepare it with --{name} FOLDER")
        arrays = {
            key: open_array(folder / f"{key}.npy", mapped=False) for key in ("landmarks", "person", "name", "found")
        }
        attributes = {
            p.stem.partition("-")[2]: open_array(p, mapped=False) for p in sorted(folder.glob("attribute-*.npy"))
        }
        pairs: list[Pairs] = []
        if (folder / "pairs.npy").is_file():
            rows, protocol = (open_array(folder / f"{key}.npy", mapped=False) for key in ("pairs", "protocol"))
            for title in dict.fromkeys(protocol.tolist()):
                own = rows[protocol == title]
                pairs.append(Pairs(title, own[:, :2], own[:, 2].astype(bool), own[:, 3]))
        images = open_array(folder / "images.npy")
        if any(len(values) != len(images) for values in (*arrays.values(), *attributes.values())):
            raise UserError(f"{folder} is damaged: its arrays differ in length; prepare it anew")
        return Persons(images, **arrays, attributes=attributes, pairs=tuple(pairs))


def open_persons(name: str, data: Path = Path("data")) -> PersonsDataset:
    """Open the dataset of persons in `data/<name>`.

    Raises:
        UserError: there is none of that name, or it is a dataset of landmarks.
    """
    folder = data / name
    if not (folder / "manifest.json").is_file():
        known = sorted(path.parent.name for path in data.glob("*/manifest.json"))
        if known:
            choose(name, known, "dataset")
        raise UserError(f"no dataset in {folder}; run: kd-loss prepare-persons --dataset {name}")
    manifest = read_json(folder / "manifest.json", "the manifest")
    if manifest.get("kind") != KIND:
        raise UserError(f"{folder} holds landmarks, not persons; run: kd-loss prepare-persons --dataset NAME")
    return PersonsDataset(folder, manifest)


def check_apart(training: Sequence[str], test: Sequence[str]) -> None:
    """Raise a `UserError` if a person is among both."""
    both = sorted(set(training) & set(test))
    if both:
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise UserError(
            f"{both[0]}{more} in training and in test: figures on known persons say nothing; leave them out"
        )
