"""Checks a dataset before training, so that a mismatch is one line instead of a stack trace of tensors."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.arguments import flag_of, list_of, number_of, table_of, whole_of, wrong
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher, Teacher, class_to_make, scaled_pictures

log = logging.getLogger(__name__)
#: normalised coordinates beyond which landmarks do not belong to an image
FAR = 5


def check_settings(
    image_range: Any, scheme: Any, teachers: Any, partial: Any, kinds: Any, **weights: Any
) -> tuple[float, float]:
    """Check arguments of the `Distiller` that nothing else checks; returns black and white of its images."""
    ends = list_of(image_range, "image_range", "two numbers, black and white,")
    if len(ends) != 2 or not number_of(ends[0], "image_range") < number_of(ends[1], "image_range"):
        raise wrong("image_range", image_range, "two numbers, black below white,")
    if scheme is not None and not hasattr(scheme, "training_error"):
        raise wrong("scheme", scheme, "a kd_loss.LandmarkScheme")
    if teachers is not None:
        table_of(teachers, "teachers", "a dictionary, role -> teacher,")
    flag_of(partial, "partial")
    whole_of(kinds, "kinds", 1, 3)
    for name, weight in weights.items():
        number_of(weight, name, 0.0, wanted="a number of 0 or more")
    return float(ends[0]), float(ends[1])


def check_visibility(student: Any, weight: Any) -> None:
    """Check the `Distiller`'s weight of visible points: with one, the student needs such an output."""
    if number_of(weight, "visibility_weight", 0.0, wanted="a number of 0 or more"):
        try:
            student.tap_model(["visibility"])
        except UserError as error:
            raise UserError(f"visibility_weight is {weight}, but {error}") from None


@dataclass(frozen=True)
class Expected:
    """What a training expects of a batch.

    Attributes:
        size: side of the images in pixels; None if the student takes any size.
        reads_bytes: whether student or teachers take images of 0…255.
        image_range: values of black and white in the dataset's images.
        shape: (N, C) of the targets, (K, 2) for K landmarks.
        coordinates: their unit.
        partial: whether there may be points that are not annotated (NaN).
        teachers: role -> teacher; their predictions must lie on the images.
    """

    size: int | None
    reads_bytes: bool
    image_range: tuple[float, float]
    shape: tuple[int, int]
    coordinates: Coordinates
    partial: bool
    teachers: Mapping[str, Teacher]


@contextlib.contextmanager
def checked_data(expected: Expected, x: Any, y: Any, options: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Check the first batch; yields `x` and `y` for `fit`, and reports in one line what is wrong with a later batch.

    Args:
        expected: what the training accepts.
        x: first argument of `fit`: arrays, a `tf.data.Dataset`, a `PyDataset` or a generator.
        y: second argument of `fit`: landmarks, if x is an array of images.
        options: keywords of `fit`.
    """
    if isinstance(x, FaceLoader | MixedLoader):  # batches of this package's own
        yield x, y
        return
    if _is_endless(x) and not options.get("steps_per_epoch"):
        raise UserError("the dataset is infinite: give steps_per_epoch, or limit it by take(…)")
    held_out = options.get("validation_data")
    if _is_endless(held_out) and not options.get("validation_steps"):
        raise UserError("validation_data is infinite: give validation_steps, or limit it by take(…)")
    readable = hasattr(x, "__iter__") or isinstance(x, keras.utils.PyDataset)
    first, x = _first_batch(x, y, options)
    if first is None and readable:
        raise UserError("the dataset has no batch")
    if first is not None:
        _check(expected, first)
        _check_teachers(expected, first)
        x = _of_one_size(x, np.shape(first[0])[1:]) if expected.size else x
    try:
        yield x, y
    except UserError:
        raise
    except Exception as error:
        if message := re.search(r"\bUserError: (.+)", str(error)):  # TensorFlow's message for an error in its threads
            raise UserError(message[1]) from error
        if first is not None and (reason := _about_shapes(error)):
            raise UserError(
                f"a batch does not fit: its images or landmarks differ in shape from those of the first, "
                f"{np.shape(first[0])}: {reason}"
            ) from error
        raise


def _is_endless(x: Any) -> bool:
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    cardinality = getattr(x, "cardinality", None)
    return callable(cardinality) and int(cardinality()) == -1


def _first_batch(x: Any, y: Any, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """The first batch in NumPy, None if it cannot be read, and the dataset to train on."""
    if isinstance(x, keras.utils.PyDataset):
        return None if x.num_batches == 0 else x[0], x
    if hasattr(x, "element_spec") and hasattr(x, "take"):  # tf.data
        return next(iter(x.take(1).as_numpy_iterator()), None), x
    if hasattr(x, "shape"):
        for name, value in (("landmarks", y), ("sample weights", options.get("sample_weight"))):
            counts = {len(part) for part in keras.tree.flatten(value) if np.ndim(part)}
            if counts - {len(x)}:
                raise UserError(f"there are {len(x)} images and {', '.join(map(str, sorted(counts)))} {name}")
        return (np.asarray(x[:2]), None if y is None else keras.tree.map_structure(lambda v: np.asarray(v[:2]), y)), x
    if hasattr(x, "__next__"):
        first = next(x, None)
        return first, None if first is None else _same_shape(first, x)
    if hasattr(x, "__iter__"):  # a DataLoader and the like, which begin anew
        return next(iter(x), None), x
    return None, x


def _same_shape(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    """The batches of a generator; raises a `UserError` if the image size changes."""
    size = np.shape(first[0])[1:]
    for number, batch in enumerate(itertools.chain([first], rest)):
        if np.shape(batch[0])[1:] != size:
            raise UserError(f"batch {number} has images of {np.shape(batch[0])[1:]}, those before it of {size}")
        yield batch


def _of_one_size(x: Any, shape: tuple[int, ...]) -> Any:
    """Fixes the image size of a `tf.data.Dataset` without a static one to that of the first batch.

    Otherwise TensorFlow traces a step for images of any size, and a network with pooling silently accepts others.
    """
    spec = getattr(x, "element_spec", None)
    if not isinstance(spec, tuple) or getattr(spec[0], "shape", None) is None or spec[0].shape.is_fully_defined():
        return x
    import tensorflow as tf

    return x.map(lambda images, *rest: (tf.ensure_shape(images, (None, *shape)), *rest))


def _check(expected: Expected, batch: Any) -> None:
    """Refuse a first batch whose images, landmarks or weights do not fit the student."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3) or batch[1] is None:
        raise UserError("a batch is (images, landmarks) or (images, landmarks, sample_weight)")
    images = np.asarray(batch[0])
    if not len(images):
        raise UserError("the first batch has no image")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise UserError(f"the images of a batch are {images.shape}, not (B, S, S, 3)")
    size = expected.size
    if size and images.shape[1] != size:
        raise UserError(f"the images of a batch are {images.shape[1]} px, the student takes {size} px")
    _check_range(expected, images)
    targets = batch[1]
    if isinstance(targets, Mapping):
        if "landmarks" not in targets:
            raise UserError(f"the targets of a batch are {', '.join(targets)}: landmarks are missing")
        targets = targets["landmarks"]
    _check_landmarks(expected, np.asarray(targets, np.float64), len(images))
    if len(batch) == 3 and np.size(batch[2]) != len(images):
        raise UserError(
            f"the weights of a batch are {np.shape(batch[2])} for {len(images)} faces; expected one per face, (B,)"
        )


def _check_range(expected: Expected, images: np.ndarray) -> None:
    """Networks that scale 0…255 themselves would read images of 0…1 as black."""
    low, high = expected.image_range
    if (low, high) != (0.0, 255.0) and images.max() > 2 * high - low:
        raise UserError(f"the images have values up to {images.max():.4g}, image_range is ({low:g}, {high:g})")
    if not expected.reads_bytes or images.dtype.kind != "f":
        return
    least, most = float(images.min()), float(images.max())
    if (low, high) == (0.0, 255.0) and most <= 1.0 and least < most:
        ends = "0…1" if least >= 0 else "−1…1"
        raise UserError(
            f"the images have values in {ends}, student or teachers take 0…255: give "
            f"image_range=({0 if least >= 0 else -1}, 1)"
        )


def _check_teachers(expected: Expected, batch: Any) -> None:
    """Warn of a teacher whose predictions lie far outside the images, which no loss would tell."""
    images = np.asarray(batch[0])[:2]
    for role, teacher in expected.teachers.items():
        if isinstance(teacher, RecordedTeacher) or expected.shape[1] != 2:
            continue
        given = scaled_pictures(keras.ops.convert_to_tensor(images), teacher.reads_bytes, expected.image_range)
        points = keras.ops.convert_to_numpy(_called(teacher, given)["landmarks"])
        if np.abs(points).max() > FAR:
            log.warning(
                "the %s teacher's landmarks lie up to %.3g image sides from the middle: is their unit right? "
                "%s(…, coordinates='pixels')",
                *(role, float(np.abs(points).max()), class_to_make(teacher)),
            )


def _called(teacher: Teacher, images: Any) -> Any:
    """The teacher's predictions; JAX would compile each operation of a large network by itself."""
    if keras.backend.backend() == "jax" and isinstance(teacher, LiveTeacher):
        import jax

        return jax.jit(lambda batch: teacher(batch))(images)
    return teacher(images)


def _check_landmarks(expected: Expected, landmarks: np.ndarray, count: int) -> None:
    points, width = expected.shape
    if landmarks.shape not in ((count, points, width), (count, points * width)):
        raise UserError(
            f"the landmarks of a batch of {count} faces are {landmarks.shape}; the student gives {points} points: "
            f"({count}, {points}, {width}) or ({count}, {points * width})"
        )
    if np.isnan(landmarks).any() and not expected.partial:
        raise UserError("some landmarks are NaN, points without annotation: give partial=True")
    known = landmarks[np.isfinite(landmarks)]
    scale = expected.coordinates
    if width == 2 and known.size and float(np.abs(scale.normalised(known)).max()) > FAR:
        raise UserError(
            f"the landmarks lie between {known.min():.4g} and {known.max():.4g}, far outside the images, which span "
            f"{scale.low:g}…{scale.low + scale.span:g}: give coordinates='pixels', 'unit' or (left edge, right edge)"
        )
    if width == 2 and known.any() and scale.span >= 16 and abs(scale.low) <= 1 and np.abs(known).max() <= 1.5:
        log.warning(
            "the landmarks lie between %.4g and %.4g, all in one pixel of images that span %g…%g: is their unit "
            "right? coordinates='unit' or 'normalised'",
            *(known.min(), known.max(), scale.low, scale.low + scale.span),
        )


def _about_shapes(error: BaseException) -> str:
    """The first line of a shape error; empty for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if any(word in text for word in ("shape", "Shape", "dimension")):
            return next((line.strip() for line in text.splitlines() if "hape" in line or "dimension" in line), "")[:200]
        seen = seen.__cause__ or seen.__context__
    return ""
