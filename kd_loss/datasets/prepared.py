"""Reading a prepared dataset, by memory map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.checks import check_manifest, check_split, open_array, target_array
from kd_loss.imaging import geometry
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
from kd_loss.schemes.pose import POSES
from kd_loss.schemes.registry import scheme_of
from kd_loss.system.arguments import path_of, text_of
from kd_loss.system.deprecation import RenamedAttribute, renamed_keywords
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import is_temporary, read_json


@renamed_keywords(landmarks="target")
@dataclass(frozen=True)
class PreparedSplit:
    """One split of a prepared dataset.

    Attributes:
        images: (N, T, T, 3) uint8 RGB: crops of S pixels plus `border` pixels of the photograph on each
            side, so that a rotated or shifted crop shows real surroundings.
        target, soft: (N, …) float32, the targets in the scheme's layout, (K, 2) points normalised to the crop or
            (2, 3) of a pose; NaN where a point is not annotated.
        affine: (N, 2, 3) from source pixels to crop pixels.
        subset, group, name: (N,) text.
        extra: (N,) bool, faces of other archives, which are never held out; None if there are none.
        visibility: (N, K) float32, 1: a point is visible, 0: hidden, NaN: unknown; None in datasets without.

    The arrays are memory-mapped, so that memory does not grow with the faces.
    """

    folder: Path
    scheme: Scheme
    images: np.ndarray
    target: np.ndarray
    soft: np.ndarray
    affine: np.ndarray
    subset: np.ndarray
    group: np.ndarray
    name: np.ndarray
    border: int = 0
    extra: np.ndarray | None = None
    visibility: np.ndarray | None = None
    spec = RenamedAttribute("scheme")

    def __len__(self) -> int:
        return len(self.target)

    @property
    def landmarks(self) -> np.ndarray:
        """The targets of a dataset of landmarks, (N, K, 2)."""
        return self.target

    @property
    def size(self) -> int:
        """The side S of a crop in pixels, without its border."""
        return int(self.images.shape[1]) - 2 * self.border

    @property
    def partial(self) -> bool:
        """Whether a face has points that are not annotated."""
        return bool(np.isnan(self.target).any())

    def crop(self, index: int) -> np.ndarray:
        """Return one crop (S, S, 3) uint8, without its border."""
        end = self.border + self.size
        return np.asarray(self.images[index, self.border : end, self.border : end])

    @cached_property
    def attributes(self) -> dict[str, np.ndarray]:
        """Attribute name -> (N, …) values."""
        files = sorted(self.folder.glob("attribute-*.npy"))
        return {f.stem.removeprefix("attribute-"): open_array(f, mapped=False) for f in files}

    def to_source(self, landmarks: np.ndarray) -> np.ndarray:
        """Convert normalised landmarks (N, K, 2) of all faces to source pixels (N, K, 2)."""
        pixels = geometry.denormalise(landmarks, self.size)
        return np.stack([geometry.apply(geometry.invert(a), p) for a, p in zip(self.affine, pixels, strict=True)])

    def rows(self) -> dict[str, np.ndarray]:
        """Report row -> indices: the benchmark's subsets and flags; `full` is every face."""
        rows: dict[str, np.ndarray] = {}
        for row, subsets in self.scheme.test_subsets.items():
            rows[row] = np.flatnonzero(np.isin(self.subset, subsets))
        for name, values in self.attributes.items():
            if values.ndim == 1 and set(np.unique(values)) <= {0, 1}:
                rows[name] = np.flatnonzero(values)
        rows.pop("full", None)
        rows |= self.scheme.rows(np.asarray(self.target))
        return {**rows, "full": np.arange(len(self))}


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared dataset: its folder, manifest and scheme."""

    folder: Path
    manifest: dict[str, Any]
    scheme: Scheme
    spec = RenamedAttribute("scheme")

    @property
    def size(self) -> int:
        """The side of a stored crop in pixels."""
        return int(self.manifest["size"])

    def split(self, name: str) -> PreparedSplit:
        """Open `train` or `test`; raise `UserError` if the dataset lacks it or a file is damaged."""
        folder = self.folder / name
        if not folder.is_dir():
            raise UserError(f"the prepared dataset {self.folder} has no '{name}' faces")
        target = target_array(folder, self.scheme)
        files = {
            key: open_array(folder / f"{key}.npy")
            for key in ("images", target, "soft", "affine", "subset", "group", "name")
        }
        more = {file.stem: open_array(file) for file in folder.glob("*.npy") if file.stem not in files}
        check_split(folder, self.scheme, self.manifest, {**files, **more})
        extra = np.array(more["extra"]) if "extra" in more else None
        files["target"] = files.pop(target)
        border = int(self.manifest["crop"]["border"])
        visible = more.get("visibility")
        return PreparedSplit(folder, self.scheme, **files, border=border, extra=extra, visibility=visible)


def holdout(split: PreparedSplit, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices into training and validation by photograph; validation gets about `fraction` of them.

    Faces of other archives (`extra`) are all used for training.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"--validation {fraction} is not in 0…1")
    own = np.ones(len(split), bool) if split.extra is None else ~split.extra
    groups, member = np.unique(split.group[own], return_inverse=True)
    count = min(len(groups) - 1, round(fraction * len(groups))) if fraction else 0
    if fraction and count == 0 and len(groups) > 1:
        count = 1
    held = np.random.default_rng(seed).permutation(len(groups))[:count]
    mask = np.zeros(len(split), bool)
    mask[own] = np.isin(member, held)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def prepared_names(data: Path) -> list[str]:
    """List the datasets prepared under `data`."""
    found: Sequence[Path] = sorted(data.glob("*/manifest.json"))
    return [path.parent.name for path in found if not is_temporary(path.parent)]


def open_dataset(name: str, data: str | os.PathLike[str] = "data") -> PreparedDataset:
    """Open `<data>/<name>`; if it is not prepared, raise a `UserError` with the command to run."""
    data = path_of(data, "data")
    ready = prepared_names(data)
    if text_of(name, "name") not in ready:
        name = choose(name, dict.fromkeys([*LANDMARK_SCHEMES, *POSES, *ready]), "dataset")
    folder = data / name
    if not (folder / "manifest.json").is_file():
        source = "" if name.removeprefix("pose_").startswith("synthetic") else f" --source /path/to/{name.upper()}"
        raise UserError(
            f"the dataset '{name}' is not prepared in {data}; run: kd-loss prepare --dataset {name}{source}"
        )
    manifest = read_json(folder / "manifest.json", "the manifest")
    check_manifest(folder, manifest)
    return PreparedDataset(folder, manifest, scheme_of(manifest["spec"], str(folder)))
