"""One annotated face in a source image, and what a parser returns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample
from kd_loss.schemes.base import HeadPlacement, Scheme
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class Sample:
    """A face before cropping.

    Attributes:
        name: its path relative to the source folder; unique within a dataset.
        landmarks: (K, 2) float64, source pixels, (x, y), the first pixel's centre at 0; NaN where a point is
            not annotated.
        split: `train` or `test`.
        subset: the part of the archive, e.g. `helen/testset`.
        group: the photograph; faces of one group always share a split.
        load: returns the image as (H, W, 3) uint8 RGB or raises `BadSample`.
        attributes: extra (K,) or scalar values by name, e.g. occlusion flags.
        place: the head's place in the image, if the archive gives it.
        extra: whether it comes from another archive (`archives.merge`) and is used for training only.
        outline: (K, 2) like `landmarks`, whole but rough, to place the crop of a face with few annotated points; None:
            a shape model completes the landmarks.
        visibility: (K,) 1: the point is visible, 0: hidden, NaN: unknown; None: nothing is known of this face.
    """

    name: str
    landmarks: np.ndarray
    split: str
    subset: str
    group: str
    load: Callable[[], np.ndarray]
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    extra: bool = False
    place: HeadPlacement | None = None
    outline: np.ndarray | None = None
    visibility: np.ndarray | None = None


@dataclass
class Archive:
    """What a parser found: samples, one-line warnings, and the problems of single samples."""

    scheme: Scheme
    samples: list[Sample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def require_samples(self, source: Path, expected: str) -> None:
        """Raise a `UserError` if nothing at all was found."""
        if not self.samples and not self.problems:
            raise UserError(f"no annotated face in {source}: expected {expected}")


def check_landmarks(values: np.ndarray, points: int) -> np.ndarray:
    """Return (K, 2) float64; raise `BadSample` for a wrong count, infinite values, half a point, or all in one place.

    A point of two NaN is not annotated.
    """
    array = np.asarray(values, np.float64)
    if array.size != 2 * points:
        raise BadSample(f"{array.size / 2:g} points, {points} expected")
    array = array.reshape(points, 2)
    missing = np.isnan(array)
    if np.isinf(array).any() or (missing[:, 0] != missing[:, 1]).any():
        raise BadSample("a coordinate is not a finite number")
    seen = array[~missing[:, 0]]
    if len(seen) < 2:
        raise BadSample(f"{len(seen)} points are annotated, at least 2 are needed")
    if np.abs(seen).max() > 1e6:
        raise BadSample(f"a coordinate of {np.abs(seen).max():g} pixels")
    if np.ptp(seen, axis=0).max() < 1:
        raise BadSample("all points lie within one pixel")
    return array


def photograph(stem: str) -> str:
    """The photograph of a face of 300W or 300W-LP: `1051618982_2` and `_1` share one, `AFW_1000_1_0` and `_2_0`, too.

    >>> photograph("1051618982_2"), photograph("AFW_1000_2_13"), photograph("image_0003_1")
    ('1051618982', 'AFW_1000', 'image_0003')
    """
    return re.sub(r"(_\d{1,2})+$", "", stem)


def pair_files(folder: Path, suffix: str) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pair the image and annotation files of a folder by stem, with a problem line for each unpaired file."""
    images: dict[str, Path] = {}
    notes: dict[str, Path] = {}
    doubles: list[str] = []
    for path in sorted(folder.iterdir()):
        kind = path.suffix.lower()
        if kind == suffix:
            notes[path.stem] = path
        elif kind in IMAGE_SUFFIXES and path.stem in images:
            doubles.append(
                f"{path}: {images[path.stem].name} has the same stem, and one {suffix} file cannot serve both"
            )
        elif kind in IMAGE_SUFFIXES:
            images[path.stem] = path
    problems = doubles + [f"{images[s]}: no {suffix} file beside it" for s in images.keys() - notes.keys()]
    problems += [f"{notes[s]}: no image beside it" for s in notes.keys() - images.keys()]
    both = sorted(images.keys() & notes.keys())
    return [(images[stem], notes[stem]) for stem in both], sorted(problems)


def existing_folder(source: Path) -> Path:
    """Return `source` if it is a non-empty folder; otherwise raise `UserError`."""
    if not source.is_dir():
        raise UserError(f"no such folder: {source}; set --source to the folder of the archive")
    if not any(source.iterdir()):
        raise UserError(f"the folder {source} is empty")
    return source


def missing_parts(counts: Mapping[str, int], official: Mapping[str, int]) -> list[str]:
    """Return one warning that names the parts that are missing or differ in size, with both counts."""
    off = [f"{part} {counts.get(part, 0)} of {n}" for part, n in official.items() if counts.get(part, 0) != n]
    return [f"not the official release (found of official): {', '.join(off)}"] if off else []


def assign_splits(names: Iterable[str], fraction: float, seed: int = 0) -> dict[str, str]:
    """Map each group to `train` or `test`, about `fraction` of the groups (none for 0) to test; deterministic."""
    groups = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(groups))
    count = min(len(groups) - 1, max(1, round(fraction * len(groups)))) if len(groups) > 1 and fraction else 0
    test = {groups[i] for i in order[:count]}
    return {group: "test" if group in test else "train" for group in groups}
