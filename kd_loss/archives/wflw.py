"""The WFLW archive: `WFLW_images/` and the two lists of `WFLW_annotations/`.

A line has 196 coordinates, 4 numbers of the face rectangle, 6 attributes and the path of the image
(207 columns), or 196 coordinates and the path (197). Coordinates start at 0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from kd_loss.archives.sample import Archive, Sample, check_landmarks, existing_folder, missing_parts
from kd_loss.imaging.pictures import MOST_OF_TABLE, BadSample, read_image, read_text
from kd_loss.schemes.benchmarks import WFLW
from kd_loss.system.errors import UserError

ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")


def _find_list(root: Path, split: str) -> Path | None:
    notes = root / "WFLW_annotations"
    for pattern in (f"**/list_98pt_rect_attr_{split}.txt", f"**/list_98pt_{split}.txt"):
        for path in sorted(notes.glob(pattern)):
            return path
    return None


def parse_line(line: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Landmarks (98, 2), attributes (6,) of 0 and 1, and the path; `BadSample` for a bad line."""
    words = line.split()
    count = 2 * WFLW.points
    if len(words) not in (count + 1, count + 11):
        raise BadSample(f"{len(words)} columns, {count + 11} or {count + 1} expected")
    try:
        numbers = np.array([float(word) for word in words[:-1]])
    except ValueError:
        raise BadSample("a column is not a number") from None
    attributes = np.zeros(len(ATTRIBUTES), np.uint8)
    if len(words) > count + 1:
        flags = numbers[count + 4 :]
        if not np.isin(flags, (0, 1)).all():
            raise BadSample("an attribute is neither 0 nor 1")
        attributes = flags.astype(np.uint8)
    return check_landmarks(numbers[:count], WFLW.points), attributes, words[-1]


def read_wflw(source: Path) -> Archive:
    """Parse a WFLW folder; a path that leaves the image folder is refused."""
    root = existing_folder(source)
    images = root / "WFLW_images"
    archive = Archive(WFLW)
    counts: dict[str, int] = {}
    for split in ("train", "test"):
        path = _find_list(root, split)
        if path is None:
            archive.warnings.append(f"no list of {split} faces under {root / 'WFLW_annotations'}")
            continue
        try:
            lines = read_text(path, MOST_OF_TABLE).splitlines()
        except BadSample as error:
            raise UserError(f"{path} {error}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path} line {number}"
            try:
                landmarks, attributes, image = parse_line(line)
            except BadSample as error:
                archive.problems.append(f"{where}: {error}")
                continue
            file = images / image
            if ".." in Path(image).parts or Path(image).is_absolute():
                archive.problems.append(f"{where}: the path '{image}' leads outside {images}")
                continue
            if not file.is_file():
                archive.problems.append(f"{where}: no image {file}")
                continue
            archive.samples.append(
                Sample(
                    name=f"{image}#{number}",
                    landmarks=landmarks,
                    split=split,
                    subset=split,
                    group=image,
                    load=partial(read_image, file),
                    attributes=dict(zip(ATTRIBUTES, attributes, strict=True)),
                )
            )
            counts[split] = counts.get(split, 0) + 1
            if split == "test":
                for name, flag in zip(ATTRIBUTES, attributes, strict=True):
                    counts[name] = counts.get(name, 0) + int(flag)
    archive.require_samples(root, "WFLW_images/ and WFLW_annotations/list_98pt_rect_attr_train_test/")
    archive.warnings += missing_parts(counts, WFLW.official)
    return archive
