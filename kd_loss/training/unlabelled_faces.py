"""Makes a split from a folder of photographs without landmarks: faces found, cropped and predicted by the teachers."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.detection import open_detector
from kd_loss.imaging import geometry
from kd_loss.imaging.crop import crop_face
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, read_image
from kd_loss.schemes.base import Scheme
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_folder, one_at_a_time, sha256, write_json
from kd_loss.training.options import StudentOptions
from kd_loss.training.teachers.files import TeacherSource

log = logging.getLogger(__name__)

#: how often a face is cropped again around the teacher's prediction
ROUNDS = 2
#: margin stored on each side of a crop, as a share of its side
ROOM = 0.25
#: the detector that finds the faces
DETECTOR = "finder"
#: photographs held in memory at a time
CHUNK = 32


def photographs(folder: Path) -> list[Path]:
    """The image files under a folder; raises a `UserError` if there are none."""
    if not folder.is_dir():
        raise UserError(f"--unlabelled {folder}: no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise UserError(f"--unlabelled {folder}: no image in it ({', '.join(IMAGE_SUFFIXES)})")
    return found


def listing_checksum(folder: Path) -> str:
    """SHA-256 of the names and sizes of the photographs under a folder."""
    listing = [[path.relative_to(folder).as_posix(), path.stat().st_size] for path in photographs(folder)]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def unlabelled_split(
    options: StudentOptions, dataset: PreparedDataset, first: TeacherSource
) -> tuple[PreparedSplit, str]:
    """The faces of `options.unlabelled` as a split, still without landmarks, and its checksum.

    A detector finds the largest face of each photograph; the face is cropped with the dataset's margin, and
    cropped again around the first teacher's prediction. The crops are stored under the runs of the
    dataset and reused the next time.
    """
    folder = Path(options.unlabelled)
    files = photographs(folder)
    margin = float(dataset.manifest["crop"]["margin"])
    listing = [[path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key = json.dumps([listing, first.checksum, dataset.size, margin, dataset.scheme.to_dict(), ROUNDS, ROOM, DETECTOR])
    place = options.runs / options.dataset / "unlabelled" / hashlib.sha256(key.encode()).hexdigest()[:20]
    if not (place / "manifest.json").is_file():
        with one_at_a_time(place):
            if not (place / "manifest.json").is_file():
                crops, names = _crops(files, folder, first, dataset, margin)
                log.info(f"unlabelled: {len(crops)} faces found in {len(files)} photographs of {folder}")
                with atomic_folder(place) as temporary:
                    np.save(temporary / "images.npy", crops)
                    np.save(temporary / "name.npy", np.array(names))
                    write_json(temporary / "manifest.json", {"source": str(folder), "faces": len(crops)})
    try:
        images = np.load(place / "images.npy", mmap_mode="r")
        names = np.load(place / "name.npy").tolist()
    except (OSError, ValueError) as error:
        raise UserError(f"{place} is damaged ({error}); delete it and try again") from None
    count = len(images)
    empty = np.zeros((count, *dataset.scheme.shape), np.float32)
    split = PreparedSplit(
        place,
        dataset.scheme,
        images,
        target=empty,
        soft=empty,
        affine=np.zeros((count, 2, 3)),
        subset=np.full(count, "unlabelled"),
        group=np.array(names),
        name=np.array(names),
        border=(images.shape[1] - dataset.size) // 2,
    )
    return split, sha256(place / "images.npy")


def _crops(
    files: list[Path], folder: Path, teacher: TeacherSource, dataset: PreparedDataset, margin: float
) -> tuple[np.ndarray, list[str]]:
    detect, predict = open_detector(DETECTOR), teacher.predictor(["landmarks"])
    size, context = teacher.size or dataset.size, teacher.context
    border = round(dataset.size * ROOM)
    stored = dataset.size + 2 * border
    crops: list[np.ndarray] = []
    names: list[str] = []
    readable = 0
    for start in range(0, len(files), CHUNK):
        found: list[tuple[Path, np.ndarray, np.ndarray]] = []
        for path in files[start : start + CHUNK]:
            try:
                image = read_image(path, upright=True)
            except BadSample:
                continue
            readable += 1
            if faces := detect(image):
                x, y, width, height = faces[0].box
                found.append((path, image, geometry.square_crop((x, y, x + width, y + height), margin)))
        for _ in range(ROUNDS if found else 0):
            wide = np.stack([crop_face(i, geometry.widen(s, context), size) for _, i, s in found])
            scheme, answers = _read(np.asarray(predict(wide)["landmarks"]) * context, teacher, dataset.scheme)
            found = [(p, i, scheme.crop_again(s, seen, margin)) for (p, i, s), seen in zip(found, answers, strict=True)]
        for path, image, square in found:
            if 16 <= square[2] <= 4 * max(image.shape[:2]):
                crops.append(crop_face(image, geometry.widen(square, stored / dataset.size), stored))
                names.append(path.relative_to(folder).as_posix())
    if not readable:
        raise UserError(f"--unlabelled {folder}: none of its {len(files)} images can be read")
    if not crops:
        raise UserError(f"--unlabelled {folder}: no face was found in its {readable} readable images")
    return np.stack(crops), names


def _read(answers: np.ndarray, teacher: TeacherSource, scheme: Scheme) -> tuple[Scheme, np.ndarray]:
    """A teacher's predictions as the dataset's targets, or unchanged, and the scheme that interprets them."""
    if teacher.map is not None:
        return scheme, teacher.map(answers)
    read = scheme.read(answers, teacher.scheme)
    return (teacher.scheme or scheme, answers) if read is None else (scheme, read)
