"""Custom landmarks: a folder of images with `.pts` or `.npy` files, or with one CSV.

* `.npy`: one file per image, (K, 2) or (2K,) pixel coordinates that start at 0, the layout of the KD-Loss
  reference code;
* `.pts`: one file per image, coordinates that start at 1;
* CSV: one file in the folder, or a CSV given directly, whose images may lie anywhere; each row holds
  the image's path, then x0, y0, x1, y1 … in pixels that start at 0. A header row is skipped; several rows may
  name one photograph.

A point that is not annotated is NaN in a `.npy` file and two empty cells in a CSV.

Rows with the same path are faces of one photograph and stay in one split; in the other layouts every
image counts as a photograph of its own. Folders `train/` and `test/` define the splits; otherwise
a share of the photographs is held out for testing.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from kd_loss.archives.pts import read_pts
from kd_loss.archives.sample import Archive, Sample, assign_splits, check_landmarks, existing_folder, pair_files
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, MOST_OF_TABLE, BadSample, read_image, read_text
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

Row = tuple[str, Path, np.ndarray, str]


def read_npy(path: Path, points: int) -> np.ndarray:
    """Load landmarks (K, 2) in pixels from `.npy`; raise `BadSample` for any other array or normalised values."""
    try:
        # header first: never read an array of hostile size, never block on a pipe
        header = np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None
        values = np.array(header) if isinstance(header, np.ndarray) and header.size < 1_000_000 else None
    except Exception:  # NumPy raises many exception types for a damaged header
        values = None
    if values is None:
        raise BadSample("is not a .npy array of landmarks") from None
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise BadSample(f"has {values.dtype}, not numbers")
    known = values[~np.isnan(values.astype(np.float64))]
    if values.size == 2 * points and len(known) and np.abs(known).max() <= 1:
        raise BadSample("has normalised values; expected pixel coordinates")
    return check_landmarks(values, points)


def _from_pairs(root: Path, folder: Path, suffix: str, archive: Archive) -> Iterator[Row]:
    reader = read_pts if suffix == ".pts" else read_npy
    pairs, problems = pair_files(folder, suffix)
    archive.problems += problems
    for image, note in pairs:
        try:
            landmarks = reader(note, archive.scheme.shape[0])
        except BadSample as error:
            archive.problems.append(f"{note}: {error}")
            continue
        name = image.relative_to(root).as_posix()
        yield name, image, landmarks, name


def _number(cell: str) -> float | None:
    """Return the number in a cell, NaN for an empty cell (point not annotated), None for anything else."""
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError:
        return None


def _find(root: Path | None, folder: Path, name: str) -> Path:
    """Return the image of a row; its path is absolute or relative to the table's folder or to `images/` in it.

    Raises `BadSample` if it is missing or lies outside the source `root`; with None it may lie anywhere.
    """
    for place in (folder, folder / "images"):
        image = Path(os.path.abspath(place / name))  # without following links: images may be links
        try:
            there = image.is_file()
        except (OSError, ValueError):  # not a valid file name
            there = False
        if there and root is None:
            return image
        if there and root is not None:
            if not image.is_relative_to(os.path.abspath(root)):
                raise BadSample(f"the image {image} is outside {root}")
            return root / image.relative_to(os.path.abspath(root))
    raise BadSample(f"no image {folder / name}")


def _is_header(row: list[str], values: list[float | None]) -> bool:
    """Whether a first row is a header: it has no number and no image, or pandas's 0, 1, 2 and so on."""
    if Path(row[0]).suffix.lower() in IMAGE_SUFFIXES:
        return False
    return all(value is None for value in values) or values == list(range(len(values)))


def _from_csv(root: Path | None, folder: Path, table: Path, archive: Archive) -> Iterator[Row]:
    try:
        rows = list(csv.reader(read_text(table, MOST_OF_TABLE).splitlines()))
    except BadSample as error:
        raise UserError(f"{table} {error}") from None
    except csv.Error:
        raise UserError(f"{table} is not a CSV text file") from None
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        values = [_number(cell) for cell in row[1:]]
        if number == 1 and _is_header(row, values):
            continue
        try:
            if None in values:
                raise BadSample("a cell is not a number")
            image = _find(root, folder, row[0])
            landmarks = check_landmarks(np.array(values, np.float64), archive.scheme.shape[0])
        except BadSample as error:
            archive.problems.append(f"{table} row {number}: {error}")
            continue
        base = Path(os.path.abspath(folder)) if root is None else root
        name = (image.relative_to(base) if image.is_relative_to(base) else image).as_posix()
        yield f"{name}#{number}", image, landmarks, name


def _rows(root: Path, folder: Path, archive: Archive) -> list[Row]:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) > 1:
        raise UserError(f"{len(tables)} CSV files in {folder}; keep only one")
    if tables:
        return list(_from_csv(root, folder, tables[0], archive))
    suffixes = {p.suffix.lower() for p in folder.iterdir()} & {".pts", ".npy"}
    if len(suffixes) > 1:
        raise UserError(f"both .pts and .npy files in {folder}; keep one kind")
    if not suffixes:
        raise UserError(f"no landmarks in {folder}: expected .pts or .npy files, or one .csv")
    return list(_from_pairs(root, folder, suffixes.pop(), archive))


def read_folder(source: Path, scheme: LandmarkScheme, test_fraction: float = 0.1) -> Archive:
    """Parse a folder of custom landmarks, or one CSV, in the scheme `scheme` (see the module's text for the layout).

    The images of a CSV given directly may lie beside it or anywhere else.
    """
    archive = Archive(scheme)
    root = source if source.is_file() else existing_folder(source)
    if root.is_file():
        rows = list(_from_csv(None, root.parent, root, archive))
        splits = assign_splits([group for *_, group in rows], test_fraction)
        labelled = [(row, splits[row[3]]) for row in rows]
    elif (root / "train").is_dir():
        parts = {name: root / name for name in ("train", "test") if (root / name).is_dir()}
        labelled = [(row, split) for split, folder in parts.items() for row in _rows(root, folder, archive)]
    else:
        rows = _rows(root, root, archive)
        splits = assign_splits([group for *_, group in rows], test_fraction)
        labelled = [(row, splits[row[3]]) for row in rows]
    for (name, image, landmarks, group), split in labelled:
        archive.samples.append(Sample(name, landmarks, split, split, group, partial(read_image, image)))
    archive.require_samples(root, "images with .pts or .npy files, or one .csv")
    return archive
