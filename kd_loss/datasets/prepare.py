"""From an archive of annotated images to a prepared dataset: square crops and landmarks as `.npy`.

A prepared dataset is a folder `<data>/<name>/` with `manifest.json`, `shape_model.npz` and, for each
split: `images.npy` (N, S + 2 border, S + 2 border, 3) uint8 RGB, `landmarks.npy` (N, K, 2) float32 normalised
to the inner S × S pixels (of poses `target.npy`, (N, 2, 3)), `soft.npy` of the same shape,
`affine.npy` (N, 2, 3) float64 from source pixels to pixels of the inner crop, `subset.npy`, `group.npy`, `name.npy`
(text), one array per attribute and, where the archive knows which points are hidden, `visibility.npy` (N, K) float32:
1 visible, 0 hidden, NaN unknown.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.archives.sample import Archive, Sample
from kd_loss.datasets.shape_model import FEWEST, ShapeCompletion, ShapeModel
from kd_loss.imaging import geometry
from kd_loss.imaging.crop import crop_face
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.known_yaw import whole_rows
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_folder, reserve, sha256, write_json
from kd_loss.system.terminal import counted
from kd_loss.system.versions import __version__

log = logging.getLogger(__name__)
SPLITS = ("train", "test")
FORMAT = 2


@dataclass(frozen=True)
class _Crop:
    """Side of a crop in pixels, margin around the landmark box, pixels stored on each side."""

    size: int
    margin: float
    border: int

    @property
    def stored(self) -> int:
        """Side of a stored crop in pixels, with its border."""
        return self.size + 2 * self.border


class _Split:
    """One split being written; `images_sha256` is None if only reading the file would reveal it."""

    def __init__(
        self, folder: Path, samples: Sequence[Sample], crop: _Crop, completion: ShapeCompletion | None, scheme: Scheme
    ):
        self.folder, self.samples, self.crop = folder, samples, crop
        self.completion, self.scheme = completion, scheme
        folder.mkdir()
        shape = (len(samples), crop.stored, crop.stored, 3)
        self.images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        reserve(folder / "images.npy")
        self.images_sha256: str | None = None
        self.affine = np.zeros((len(samples), 2, 3))
        self.target = np.zeros((len(samples), *scheme.shape), np.float32)
        self.outside = np.zeros(len(samples), bool)
        #: rough whole shapes, for the shape model of an archive without whole faces
        self.outlines = np.full_like(self.target, np.nan) if samples[0].outline is not None else None

    def write_one(self, index: int) -> str | None:
        """Crop one face; return a description of its problem, if any."""
        sample = self.samples[index]
        try:
            image = sample.load()
        except BadSample as error:
            return f"{sample.name}: {error}"
        except cv2.error as error:
            return f"{sample.name}: OpenCV cannot read it ({error.err})"
        height, width = image.shape[:2]
        low, high = np.nanmin(sample.landmarks, axis=0), np.nanmax(sample.landmarks, axis=0)
        if (high < -0.5).any() or (low > (width - 0.5, height - 0.5)).any():
            return f"{sample.name}: no landmark lies in the image ({width} × {height})"
        self.outside[index] = (low < -0.5).any() or (high > (width - 0.5, height - 0.5)).any()
        whole = sample.landmarks if self.completion is None else self.completion(sample.landmarks)
        whole = whole if sample.outline is None else sample.outline
        crop, square = self.crop, geometry.square_crop(geometry.landmark_box(whole), self.crop.margin)
        self.images[index] = crop_face(image, geometry.widen(square, crop.stored / crop.size), crop.stored)
        self.affine[index] = geometry.crop_affine(square, crop.size)
        affine = geometry.normalised_affine(square)
        if self.outlines is not None and sample.outline is not None:
            self.outlines[index] = geometry.apply(affine, sample.outline)
        try:
            self.target[index] = self.scheme.target(geometry.apply(affine, sample.landmarks), sample.place, affine)
        except UserError as error:
            return f"{sample.name}: {error}"
        return None

    def _visibility(self, sample: Sample) -> np.ndarray:
        """(K,) float32, see `Sample.visibility`; of a face of which nothing is known, annotated points are visible."""
        values = sample.visibility
        if values is None:
            values = np.where(np.isnan(sample.landmarks[:, 0]), np.nan, 1)
        return np.asarray(values, np.float32)

    def write(self, progress: Callable[[Any, int], Any]) -> list[str | None]:
        """Crop all faces in parallel; return the problem of each, None for a good one.

        Meanwhile this thread computes the images' checksum in order; computed from the file at the end, it would
        keep one core busy and the others idle.
        """
        with (self.folder / "images.npy").open("rb") as file:
            digest = hashlib.sha256(file.read(self.images.offset))
        count = len(self.samples)
        problems = []
        with ThreadPoolExecutor() as pool:
            for index, problem in enumerate(progress(pool.map(self.write_one, range(count)), count)):
                problems.append(problem)
                digest.update(self.images[index])
        self.images_sha256 = digest.hexdigest()
        return problems

    def finish(self, bad: set[int]) -> None:
        """Drop bad samples and write everything except the soft landmarks."""
        good = [i for i in range(len(self.samples)) if i not in bad]
        if bad:
            shape = (len(good), *self.images.shape[1:])
            path = self.folder / "images.npy"
            packed = np.lib.format.open_memmap(self.folder / "packed.npy", "w+", np.uint8, shape)
            reserve(self.folder / "packed.npy")
            for target, index in enumerate(good):
                packed[target] = self.images[index]
            packed.flush()
            (self.folder / "packed.npy").replace(path)
            self.images_sha256 = None
        else:
            self.images.flush()
        self.samples = [self.samples[i] for i in good]
        if not good:
            return
        self.target = self.scheme.stored(self.target[good]).astype(np.float32)
        np.save(self.folder / f"{self.scheme.array}.npy", self.target)
        np.save(self.folder / "affine.npy", self.affine[good])
        for key in ("subset", "group", "name"):
            np.save(self.folder / f"{key}.npy", np.array([getattr(s, key) for s in self.samples], str))
        if any(s.extra for s in self.samples):
            np.save(self.folder / "extra.npy", np.array([s.extra for s in self.samples]))
        if self.scheme.shape[1] == 2 and any(s.visibility is not None for s in self.samples):
            np.save(self.folder / "visibility.npy", np.stack([self._visibility(s) for s in self.samples]))
        for key in [key for key in self.samples[0].attributes if all(key in s.attributes for s in self.samples)]:
            values = np.array([s.attributes[key] for s in self.samples])
            np.save(self.folder / f"attribute-{key}.npy", values)


def check_crop(size: int, margin: float, room: float = 0.0) -> None:
    """Raise `UserError` for an invalid size, margin or room."""
    if not 16 <= size <= 1024:
        raise UserError(f"--size {size} is not between 16 and 1024")
    if not 0 <= margin <= 2:
        raise UserError(f"--margin {margin} is not between 0 and 2")
    if not 0 <= room <= 1:
        raise UserError(f"--border {room} is not between 0 and 1")


def _check_enough(targets: Mapping[str, np.ndarray]) -> None:
    """Raise a `UserError` if too few training faces have all points for the shape model of soft landmarks."""
    train = targets["train"]
    complete = int((~np.isnan(train).any(axis=(1, 2))).sum())
    if complete >= FEWEST:
        return
    test = sum(len(target) for name, target in targets.items() if name != "train")
    raise UserError(
        f"too few faces: {counted(len(train), 'training face')}, {complete} of them with all points, and "
        f"{counted(test, 'test face')}; soft landmarks need {FEWEST} training faces with all points: add photographs"
    )


def prepare(
    archive: Archive,
    target: Path,
    *,
    size: int = 224,
    margin: float = 0.15,
    room: float = 0.25,
    variance: float = 0.90,
    skip_bad: bool = False,
    calibrate: Callable[[Sequence[Sample]], dict[str, Any]] = lambda _: {},
    draw: Callable[[Path, dict[str, Any]], None] = lambda *_: None,
    progress: Callable[[Any, int], Any] = lambda items, _: items,
) -> dict[str, Any]:
    """Write the prepared dataset `target` and return its manifest.

    Args:
        archive: the result of a parser; its problems and those of decoding are errors, unless `skip_bad` drops these
            samples.
        target: folder of the dataset; replaced as a whole, after everything is written.
        size: side of a crop in pixels, 16…1024.
        margin: share of the landmark box added on each side, see `geometry.square_crop`.
        room: width of the photograph stored on each side of a crop, as a share of the crop's side.
        variance: share of the variance kept by the shape model of soft landmarks.
        skip_bad: drop bad samples instead of raising a `UserError`.
        calibrate: maps training samples to the place of the landmarks in a detector's boxes, for the manifest.
        draw: called with the folder just written and the manifest; adds images to it.
        progress: wraps an iterable of known length.
    """
    check_crop(size, margin, room)
    for warning in archive.warnings:
        log.warning(warning)
    with atomic_folder(target) as folder:
        crop = _Crop(size, margin, round(size * room))
        splits, scheme, problems = _write_splits(archive, folder, crop, progress)
        _judge(problems, archive, skip_bad)
        outside = sum(int(split.outside.sum()) for split in splits.values())
        for name in [name for name, split in splits.items() if not split.samples]:
            shutil.rmtree(splits.pop(name).folder)
            log.warning(f"no valid {name} face remains")
        if "train" not in splits:
            raise UserError(f"no training face for '{archive.scheme.name}' remains")
        targets = {name: split.target for name, split in splits.items()}
        outlines = splits["train"].outlines
        if outlines is not None and np.isnan(targets["train"]).any(axis=(1, 2)).all():
            targets["train"] = outlines  # no whole face: the shape model is that of the rough ones
        _check_enough(targets)
        if outside:
            log.warning(f"{counted(outside, 'face')} with landmarks outside of the image; kept")
        model = ShapeModel.fit(targets["train"], variance)
        model.save(folder / "shape_model.npz")
        for split in splits.values():
            soft = model.soften(whole_rows(split.target))
            # the shape model knows whole rotations alone: a known yaw stays as it is, what is missing stays missing
            np.save(split.folder / "soft.npy", np.where(np.isnan(soft), split.target, soft))
        manifest = {
            "format": FORMAT,
            "spec": scheme.to_dict(),
            "size": size,
            "crop": {"rule": "square around the landmark box", "margin": margin, "border": crop.border},
            "counts": {k: dict(Counter(s.subset for s in v.samples)) for k, v in splits.items()},
            "skipped": len(problems),
            "landmarks_outside": outside,
            "calibration": calibrate(splits["train"].samples),
            "shape_model": {"variance": variance, "kept": model.kept, "components": len(model.variances)},
            **_origin(folder, splits.values()),
        }
        write_json(folder / "manifest.json", manifest)
        draw(folder, manifest)
    return manifest


def _write_splits(
    archive: Archive, folder: Path, crop: _Crop, progress: Callable[[Any, int], Any]
) -> tuple[dict[str, _Split], Scheme, list[str]]:
    """Crop the faces of each split; return also the scheme fitted to the training faces, and all problems."""
    problems, scheme = list(archive.problems), archive.scheme
    splits: dict[str, _Split] = {}
    partial = any(np.isnan(s.landmarks).any() for s in archive.samples)
    to_train = [s.landmarks for s in archive.samples if s.split == "train"]
    completion = ShapeCompletion.of(to_train) if partial else None
    for name in SPLITS:
        samples = [s for s in archive.samples if s.split == name]
        if not samples:
            continue
        split = splits[name] = _Split(folder / name, samples, crop, completion, scheme)
        results = split.write(progress)
        bad = {i for i, problem in enumerate(results) if problem}
        if name == "train" and len(bad) < len(samples):
            good = np.setdiff1d(np.arange(len(samples)), sorted(bad))
            scheme = split.scheme = scheme.fitted(split.target[good])
        problems += [text for text in results if text]
        split.finish(bad)
    return splits, scheme, problems


def _origin(folder: Path, splits: Iterable[_Split]) -> dict[str, Any]:
    """Record when and by which version a dataset was written, and the checksums of its files."""
    known = {s.folder / "images.npy": s.images_sha256 for s in splits}
    files = sorted(folder.rglob("*.np[yz]"))
    return {
        "versions": {
            "kd_loss": __version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "python": platform.python_version(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": {p.relative_to(folder).as_posix(): known.get(p) or sha256(p) for p in files},
    }


def _judge(problems: list[str], archive: Archive, skip_bad: bool) -> None:
    """List bad samples; raise unless they may be skipped."""
    if not problems:
        return
    for problem in problems[:20]:
        log.info(f"bad: {problem}")
    if len(problems) > 20:
        log.info(f"bad: … and {len(problems) - 20} more")
    if not skip_bad:
        raise UserError(
            f"{len(problems)} bad of {len(archive.samples) + len(archive.problems)} samples (first: "
            f"{problems[0]}); fix them, or skip them with --skip-bad"
        )
    log.warning(f"{len(problems)} bad samples are skipped")
