"""Checks of a prepared dataset, run when it is opened, so that its readers can rely on it.

Of the images only the header and size of the file are read, so that the time does not grow with them; every
landmark, affine map and name is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.schemes.base import Scheme
from kd_loss.system.errors import UserError, first_line

#: faces checked at a time
_CHUNK = 8192
AGAIN = "run kd-loss prepare again"


def open_array(path: Path, mapped: bool = True) -> np.ndarray:
    """Load an array from a `.npy` file, memory-mapped by default; raise `UserError` if it is damaged."""
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing; {AGAIN}")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.memmap):
            raise ValueError("it is not a single array")
        if array.offset + array.nbytes != path.stat().st_size:
            raise ValueError("its size does not match its header")
        if array.ndim and not array.flags.c_contiguous:
            raise ValueError("its memory order is not C")
    except UserError:
        raise
    except Exception as error:  # NumPy raises many exception types for a damaged header
        reason = first_line(error)
        raise UserError(f"{path} is damaged ({reason}); {AGAIN}") from None
    return array if mapped else np.array(array)


def target_array(folder: Path, scheme: Scheme) -> str:
    """Return the name of a split's target array: the scheme's, or `landmarks` for poses prepared by 0.1."""
    names = scheme.array, "landmarks"
    return next((name for name in names if (folder / f"{name}.npy").is_file()), scheme.array)


def check_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `UserError` if a manifest lacks a required entry or has a value of the wrong kind."""
    file = folder / "manifest.json"
    missing = {"spec", "size", "counts", "sha256", "crop"} - manifest.keys()
    if missing:
        raise UserError(f"{file} is incomplete, it lacks {sorted(missing)[0]}; {AGAIN}")
    size, crop, counts, sums = (manifest[key] for key in ("size", "crop", "counts", "sha256"))
    if type(size) is not int or not 16 <= size <= 1024:
        raise UserError(f"{file}: the size {size!r} is not a whole number from 16 to 1024; {AGAIN}")
    if isinstance(crop, dict) and "border" not in crop:
        raise UserError(
            f"{folder} was prepared by an earlier version, without a border around the crops; run: kd-loss prepare "
            f"--dataset {folder.name}{'' if folder.name.startswith('synthetic') else ' --source FOLDER'} --size {size} "
            f"--margin {crop.get('margin', 0.15)}"
        )
    margin, border = (crop.get("margin"), crop["border"]) if isinstance(crop, dict) else (None, None)
    fits = isinstance(margin, int | float) and 0 <= margin <= 2
    if not fits or type(border) is not int or not 0 <= border <= 1024:
        raise UserError(f"{file}: the crop {crop!r} has an invalid margin or border; {AGAIN}")
    if not isinstance(counts, dict) or not all(_are_counts(entry) for entry in counts.values()):
        raise UserError(f"{file}: the counts are not numbers of faces; {AGAIN}")
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise UserError(f"{file}: the checksums are not strings; {AGAIN}")
    if not {"train/landmarks.npy", "train/target.npy"} & sums.keys():
        raise UserError(f"{file} has no checksum of the training faces' targets; {AGAIN}")
    scheme = manifest["spec"]
    if isinstance(scheme, dict):
        subsets, official = scheme.get("test_subsets", {}), scheme.get("official", {})
        if not isinstance(official, dict) or not (_are_counts(official) or not official):
            raise UserError(f"{file}: the official counts are not numbers of faces; {AGAIN}")
        lists = list(subsets.values()) if isinstance(subsets, dict) else [None]
        if not all(isinstance(e, list) and all(isinstance(name, str) for name in e) for e in lists):
            raise UserError(f"{file}: the test subsets are not lists of names; {AGAIN}")


def _are_counts(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry) and all(type(n) is int and 0 < n < 1 << 40 for n in entry.values())


def check_split(
    folder: Path, scheme: Scheme, manifest: Mapping[str, Any], files: Mapping[str, np.ndarray]
) -> None:  # fmt: skip
    """Raise a `UserError` that names the file and face if a split's arrays are invalid.

    Args:
        folder: folder of the split.
        scheme: scheme of the dataset, which determines shape and range of the targets.
        manifest: manifest of the dataset, with sizes and counts.
        files: `images`, the targets (`target_array`), `soft`, `affine`, `subset`, `group`, `name` and, if present,
            `extra` and `visibility`, as in `PreparedSplit`; attributes as `attribute-…`.
    """
    counts = manifest["counts"].get(folder.name)
    if not counts:
        raise UserError(f"{folder.parent / 'manifest.json'} does not count the faces of {folder}; {AGAIN}")
    count, side = sum(counts.values()), manifest["size"] + 2 * manifest["crop"]["border"]
    target = target_array(folder, scheme)
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        "images": ((count, side, side, 3), "uint8"),
        target: ((count, *scheme.shape), "float32"),
        "soft": ((count, *scheme.shape), "float32"),
        "affine": ((count, 2, 3), "float64"),
        "extra": ((count,), "bool"),
        "visibility": ((count, scheme.shape[0]), "float32"),
    }
    for key, array in files.items():
        where = folder / f"{key}.npy"
        if key.startswith("attribute-"):
            if array.dtype.kind not in "biuf" or array.shape[:1] != (count,) or array.ndim > 2:
                raise UserError(f"{where} has {array.dtype} {array.shape}; expected numbers for {count} faces; {AGAIN}")
            if not np.isfinite(array).all():
                raise UserError(f"{where} contains a number that is not finite; {AGAIN}")
        elif key not in expected:
            _check_text(where, array, count)
        else:
            shape, kind = expected[key]
            if array.shape != shape or array.dtype != np.dtype(kind):
                raise UserError(f"{where} has {array.dtype} {array.shape}; expected {kind} {shape}; {AGAIN}")
    for start in range(0, count, _CHUNK):
        for key in (target, "soft"):
            _check_points(folder / f"{key}.npy", files[key][start : start + _CHUNK], start, scheme)
        _check_affine(folder / "affine.npy", files["affine"][start : start + _CHUNK], start)
    if "visibility" in files:
        known = files["visibility"]
        if (~np.isnan(known) & ((known < 0) | (known > 1))).any():
            raise UserError(f"{folder / 'visibility.npy'} holds a number outside 0…1; {AGAIN}")
    found = Counter(files["subset"].tolist())
    if found != Counter(counts):
        raise UserError(f"{folder / 'subset.npy'} does not match the counts of the manifest; {AGAIN}")


def _check_text(where: Path, array: np.ndarray, count: int) -> None:
    if array.dtype.kind != "U" or array.shape != (count,) or not array.dtype.isnative:
        raise UserError(f"{where} has {array.dtype} {array.shape}; expected {count} names; {AGAIN}")
    if array.dtype.itemsize and array.view(np.uint32).max() > 0x10FFFF:
        raise UserError(f"{where} contains something other than text; {AGAIN}")


def _check_points(where: Path, points: np.ndarray, start: int, scheme: Scheme) -> None:
    """Check points: both coordinates NaN means not annotated; all others must lie near the crop."""
    missing = np.isnan(points)
    with np.errstate(invalid="ignore"):
        far = np.abs(points) > scheme.furthest
    for problem, bad in (
        ("a coordinate that is not a number next to one that is", scheme.malformed(missing)),
        (f"a coordinate further than {scheme.furthest:g} crops away", far.any(axis=2)),
        ("no annotated point", missing.all(axis=2)),
    ):
        faces = bad.all(axis=1) if problem == "no annotated point" else bad.any(axis=1)
        if faces.any():
            raise UserError(f"{where}: face {start + int(np.argmax(faces))} has {problem}; fix it, or {AGAIN}")


def _check_affine(where: Path, affine: np.ndarray, start: int) -> None:
    with np.errstate(all="ignore"):
        determinant = affine[:, 0, 0] * affine[:, 1, 1] - affine[:, 0, 1] * affine[:, 1, 0]
        sound = np.isfinite(affine).all(axis=(1, 2)) & (np.abs(affine).max(axis=(1, 2)) < 1e12)
        sound &= (np.abs(determinant) > 1e-12) & (np.abs(determinant) < 1e12)
    if not sound.all():
        raise UserError(
            f"{where}: face {start + int(np.argmin(sound))} has a transform that cannot be inverted; {AGAIN}"
        )
