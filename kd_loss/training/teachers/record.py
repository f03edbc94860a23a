"""Records the predictions of any teacher on any dataset: `record`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.plain import check_plain, picture_batches, picture_checksums
from kd_loss.datasets.transform import Answers
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.arguments import list_of, number_of, path_of, text_of, whole_of
from kd_loss.system.errors import UserError
from kd_loss.training.check_data import check_settings
from kd_loss.training.teachers.answer_files import AnswerArrays, kept_answers
from kd_loss.training.teachers.checksums import teacher_checksum
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher, Teacher, as_teacher, scaled_pictures

#: increase it to invalidate old records
FORMAT = 1
#: the file of the images' checksums beside those of the taps
_PICTURES = "picture-checksums"


def record(
    teacher: Any,
    dataset: Any,
    folder: str | Path,
    *,
    taps: Sequence[str] = ("landmarks",),
    coordinates: Coordinates | str | tuple[float, float] = "normalised",
    image_size: int | None = None,
    image_range: tuple[float, float] = (0.0, 255.0),
    batch_size: int = 32,
    limit_gb: float = 4.0,
) -> Answers:
    """The predictions of a teacher on all images of a dataset, in order: from disk, or computed once and stored.

    Each record has its own folder within `folder`: a `.npy` per tap, which is memory-mapped, and a
    `manifest.json`. Its key is made of the checksums of teacher and images, so one `folder` may serve
    any number of teachers and datasets, and other weights or images make a new record. The dataset is read
    once for the checksum, and once more for the predictions. An interrupted record leaves no files.

    Args:
        teacher: a Keras model, a `LandmarkNet`, a file or a function, see `Distiller`. A function's checksum covers
            its source code and the arrays, models and numbers that it is bound to, but not what it reads from
            files or global variables.
        dataset: arrays (the images alone, or a tuple that starts with them), a `tf.data.Dataset`, batched or
            not, a `PyDataset`, or a list of batches; images (B, S, S, 3). It must yield the same images in
            the same order each time: shuffle and augment afterwards.
        folder: folder of the records.
        taps: taps to record; feature maps (B, h, w, C) are stored in half precision.
        coordinates: unit of the landmarks of a foreign teacher; recorded ones are normalised.
        image_size: side of the teacher's input images, if it does not state one; default: that of the dataset.
        image_range: values of black and white in the dataset's images, see `Distiller`.
        batch_size: batch size for arrays and unbatched datasets.
        limit_gb: largest size of the record on disk, in GB.

    Returns:
        `Answers`, for `kd_loss.with_answers` and as a teacher of the `Distiller`.

    Raises:
        UserError: the dataset is a generator, endless, or its images change; a tap does not exist; or the record
            exceeds `limit_gb`.

    Example:
        >>> answers = kd_loss.record(teacher, (images, landmarks), "answers")     # doctest: +SKIP
        >>> answers.landmarks.shape                                               # doctest: +SKIP
        (1, 3148, 68, 2)
    """
    taps = [text_of(tap, "taps") for tap in list_of(taps, "taps", "a list of taps")]
    folder, batch_size = path_of(folder, "folder"), whole_of(batch_size, "batch_size", 1, 1 << 20)
    image_size = None if image_size is None else whole_of(image_size, "image_size", 1, 1 << 14)
    number_of(limit_gb, "limit_gb", 0, wanted="a number of GB")
    check_settings(image_range, None, None, False, 1)
    check_plain(dataset)
    pictures, digest, size = _look(dataset, batch_size)
    opened = as_teacher(teacher, size=image_size or size, coordinates=coordinates)
    if isinstance(opened, RecordedTeacher):
        raise UserError("these answers are already recorded")
    names = list(dict.fromkeys(["landmarks", *taps]))
    opened = opened.with_taps(names)
    key = {
        "format": FORMAT,
        "weights": teacher_checksum(opened),
        "data": digest,
        "faces": len(pictures),
        "taps": sorted(names),
        "range": [float(end) for end in image_range],
    }

    def write(place: Path) -> None:
        advice = f"limit_gb is {limit_gb:g}; raise it, or record fewer taps"
        arrays = AnswerArrays(place, 1, len(pictures), names, limit_gb, advice)
        taps_of, start = _tap_function(opened, image_range), 0
        for images in picture_batches(dataset, batch_size):
            stop = start + len(images)
            if stop > len(pictures) or (picture_checksums(images) != pictures[start:stop]).any():
                raise UserError(
                    "the dataset gave other images, or another order, when read again: record it "
                    "before shuffling and augmenting"
                )
            arrays.write(0, start, {tap: values for tap, values in taps_of(images).items() if tap in names})
            start = stop
        if start != len(pictures):
            raise UserError(f"the dataset gave {len(pictures)} images, and {start} when read again")
        arrays.flush()
        np.save(place / f"{_PICTURES}.npy", pictures)

    found, _ = kept_answers(Path(folder), key, write)
    known = found.pop(_PICTURES)
    return Answers(found, pictures=np.asarray(known))


def _look(dataset: Any, batch_size: int) -> tuple[np.ndarray, str, int]:
    """The checksum of each image (N,), the checksum of all of them, and the side of the first."""
    digest, each, size = hashlib.sha256(), [], 0
    for images in picture_batches(dataset, batch_size):
        size = size or images.shape[1]
        for image in images:  # one by one, so that the batch size does not matter
            digest.update(f"{image.shape}".encode() + np.ascontiguousarray(image, np.float32).tobytes())
        each.append(picture_checksums(images))
    if not each or not sum(map(len, each)):
        raise UserError("the dataset has no images")
    return np.concatenate(each), digest.hexdigest(), size


def _tap_function(teacher: Teacher, image_range: tuple[float, float]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from the dataset's images to taps in NumPy; compiled for Keras networks."""

    def taps_of(images: Any) -> Any:
        return teacher(scaled_pictures(images, teacher.reads_bytes, image_range), {})

    call: Callable[[Any], Any] = taps_of
    if isinstance(teacher, LiveTeacher):

        class Predictions(keras.Model):
            def call(self, images: Any) -> Any:
                return taps_of(images)

        model = Predictions(name="recorded")
        model.compile(jit_compile=False)
        call = model.predict_on_batch
    return lambda images: {
        tap: np.asarray(keras.ops.convert_to_numpy(values)) for tap, values in call(images.astype(np.float32)).items()
    }
