"""The COFW archive: `COFW_train_color.mat` and `COFW_test_color.mat`, MATLAB v7.3 (HDF5).

Cells `IsTr`/`IsT` hold the images, grey or colour; `phisTr`/`phisT` hold N × 87 numbers: 29 x,
29 y, 29 occlusion flags. MATLAB stores arrays by column, so HDF5 shows every shape reversed, and its
coordinates start at 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from kd_loss.archives.sample import Archive, Sample, check_landmarks, existing_folder, missing_parts
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.benchmarks import COFW
from kd_loss.system.errors import UserError
from kd_loss.system.hdf5 import check_dataset, entry_of, open_hdf5

#: upper limits on the bytes of an image and on the numbers or cells of a file
MOST_PICTURE, MOST_NUMBERS = 1 << 28, 1 << 27
_FILES = {
    "train": ("COFW_train_color.mat", "IsTr", "phisTr"),
    "test": ("COFW_test_color.mat", "IsT", "phisT"),
}


def _load(path: Path, variable: str, index: int) -> np.ndarray:
    """Image `index` of a `.mat` file as (H, W, 3) uint8 RGB."""
    try:
        with open_hdf5(path) as file:
            cells = check_dataset(path, entry_of(path, file, variable), MOST_NUMBERS)
            picture = check_dataset(path, file[cells[()].reshape(-1)[index]], MOST_PICTURE)
            data = np.asarray(picture) if picture.dtype == np.uint8 else np.empty(0)
    except UserError as error:
        raise BadSample(str(error)) from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise BadSample(f"cannot be read from the .mat file ({error})") from None
    if data.dtype != np.uint8 or data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[0] != 3):
        raise BadSample(f"is not an 8-bit grey or colour image ({data.dtype}, {data.shape})")
    image = data.T if data.ndim == 2 else data.transpose(2, 1, 0)
    return np.ascontiguousarray(np.stack([image] * 3, axis=-1) if image.ndim == 2 else image)


def _annotations(path: Path, images: str, phis: str) -> np.ndarray:
    """(N, 87) float64 with N checked against the number of images."""
    try:
        with open_hdf5(path) as file:
            numbers = check_dataset(path, entry_of(path, file, phis), MOST_NUMBERS)
            cells = check_dataset(path, entry_of(path, file, images), MOST_NUMBERS)
            if numbers.dtype.kind not in "fiu":
                raise KeyError(phis)
            rows, count = np.asarray(numbers, np.float64).T, int(cells.size)
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: no variables {images} and {phis}; is it the official colour file?") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).split(",")[0].split("(")[0].strip() or "not HDF5"
        raise UserError(f"{path}: not a complete MATLAB v7.3 file ({reason}); download it again") from None
    if rows.ndim != 2 or rows.shape != (count, 3 * COFW.points):
        raise UserError(f"{path}: {phis} is {rows.shape}, expected ({count}, {3 * COFW.points})")
    return rows


def read_cofw(source: Path) -> Archive:
    """Parse a folder with the two COFW files; one missing file is a warning, both are an error."""
    root = existing_folder(source)
    archive = Archive(COFW)
    counts: dict[str, int] = {}
    for split, (name, images, phis) in _FILES.items():
        path = root / name
        if not path.is_file():
            archive.warnings.append(f"{path} is missing")
            continue
        rows = _annotations(path, images, phis)
        flagged = bool((rows[:, 2 * COFW.points :] > 0.5).any())
        if not flagged and len(rows) > 20:  # a quarter of the points of the official files are occluded
            archive.warnings.append(f"{path} flags no point as occluded: which are visible is not known")
        for index, row in enumerate(rows):
            x, y, occluded = row.reshape(3, COFW.points)
            try:
                landmarks = check_landmarks(np.column_stack([x, y]), COFW.points) - 1.0
            except BadSample as error:
                archive.problems.append(f"{path} face {index + 1}: {error}")
                continue
            archive.samples.append(
                Sample(
                    name=f"{name}#{index + 1}",
                    landmarks=landmarks,
                    split=split,
                    subset=split,
                    group=f"{split}/{index + 1}",
                    load=partial(_load, path, images, index),
                    attributes={"occluded": (occluded > 0.5).astype(np.uint8)},
                    visibility=(occluded <= 0.5).astype(np.float32) if flagged else None,
                )
            )
            counts[split] = counts.get(split, 0) + 1
    archive.require_samples(root, " and ".join(entry[0] for entry in _FILES.values()))
    archive.warnings += missing_parts(counts, COFW.official)
    return archive
