"""Faces that are in memory: arrays of images and points, pairs of any iterable, or `tf.data`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from kd_loss.archives.sample import Archive, Sample, assign_splits, check_landmarks
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError


def read_memory(
    source: Any,
    scheme: LandmarkScheme | None = None,
    name: str = "own",
    *,
    coordinates: Coordinates | str | tuple[float, float] = "pixels",
    test_fraction: float = 0.1,
) -> Archive:
    """Annotated images in memory as an `Archive`.

    Args:
        source: `(images, landmarks)`: images (N, H, W, 3), or a list of them of any sizes, and points (N, K, 2);
            or an iterable, or a `tf.data.Dataset`, of pairs (image, points) or of batches of them. Images
            are RGB of 0…255; points (K, 2) or (2K,), NaN where one is not annotated. Items of an iterable are kept
            in memory until the archive is prepared.
        scheme: the scheme; if None, one is made with as many points as the first face has.
        name: the name of the scheme made.
        coordinates: the unit of the points, relative to each image's own width and height, see `Coordinates`; by
            default pixels, the centre of the first one at 0.
        test_fraction: share of the images for testing.

    Raises:
        UserError: images or points have another shape or kind. Problems with the points of single faces are
            listed in the archive.
    """
    scale = Coordinates.of(coordinates, 1)
    in_pixels = coordinates == "pixels"
    faces: list[tuple[np.ndarray, np.ndarray]] = []
    for index, (picture, points) in enumerate(_pairs(source)):
        image, marks = _picture(picture, index), _points(points, index)
        if not in_pixels:
            marks = (scale.normalised(marks) + 0.5) * np.array(image.shape[1::-1]) - 0.5
        faces.append((image, marks))
    if not faces:
        raise UserError("the source has no faces")
    made = scheme or LandmarkScheme(name, len(faces[0][1]))
    if len(faces[0][1]) != made.points:
        raise UserError(f"the source has {len(faces[0][1])} points a face, the scheme '{made.name}' {made.points}")
    archive = Archive(made)
    names = [f"{index:08d}" for index in range(len(faces))]
    splits = assign_splits(names, test_fraction)
    for label, (image, marks) in zip(names, faces, strict=True):
        try:
            landmarks = check_landmarks(marks, made.points)
        except BadSample as error:
            archive.problems.append(f"face {int(label)}: {error}")
            continue
        archive.samples.append(Sample(label, landmarks, splits[label], splits[label], label, partial(_rgb, image)))
    return archive


def _pairs(source: Any) -> Iterator[tuple[Any, Any]]:
    """Yield image and points face by face."""
    if isinstance(source, tuple) and len(source) == 2 and (_rank(source[0]) == 4 or isinstance(source[0], list)):
        yield from _together(*source)
        return
    if hasattr(source, "element_spec") and hasattr(source, "as_numpy_iterator"):
        if int(source.cardinality()) == -1:
            raise UserError("the source is infinite: remove repeat()")
        source = source.as_numpy_iterator()
    if hasattr(source, "shape") or not isinstance(source, Iterable):
        raise UserError(f"a source is (images, landmarks) or an iterable of such pairs, not a {type(source).__name__}")
    for index, pair in enumerate(source):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise UserError(f"entry {index} of the source is not a pair (image, points)")
        if _rank(pair[0]) == 4:
            yield from _together(*pair)
        else:
            yield pair[0], pair[1]


def _together(images: Any, landmarks: Any) -> Iterator[tuple[Any, Any]]:
    if len(images) != len(landmarks):
        raise UserError(f"the source has {len(images)} images but the points of {len(landmarks)} faces")
    yield from zip(images, landmarks, strict=True)


def _rank(value: Any) -> int:
    return len(value.shape) if hasattr(value, "shape") else 0


def _picture(value: Any, index: int) -> np.ndarray:
    """Return the image (H, W, 3) unchanged; raise `UserError` for anything but values 0…255."""
    image = np.asarray(value)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(f"image {index} of the source is {image.shape}, not (H, W, 3)")
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind not in "fiu":
        raise UserError(f"image {index} of the source is {image.dtype}; expected numbers in 0…255")
    low, high = float(image.min()), float(image.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > 255:
        raise UserError(f"image {index} of the source has values in {low:g}…{high:g}, not in 0…255")
    if image.dtype.kind == "f" and low < high <= 1:
        raise UserError(
            f"image {index} of the source has values in 0…1; convert to 0…255: (images * 255).round().astype('uint8')"
        )
    return image


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.round(image).astype(np.uint8)


def _points(value: Any, index: int) -> np.ndarray:
    """Return (K, 2) float64; raise `UserError` for another shape."""
    try:
        points = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"the points of face {index} of the source are not numbers") from None
    if points.ndim == 1 and points.size and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not points.size:
        raise UserError(f"the points of face {index} of the source are {points.shape}, not (K, 2) or (2K,)")
    return points
