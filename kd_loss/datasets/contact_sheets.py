"""The command `show`: two images of the data as a training will see it.

`crops.png` shows one large face with numbered points, and the same face with its mirrored pairs as lines, which
cross the face if `pairs` is right; below are faces from the whole split. `augmented.png` shows faces as a training
sees them; the first point of each pair is red and the second blue in every sample, mirrored or not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.imaging import geometry
from kd_loss.schemes.drawing import (
    OTHER,
    PREDICTED,
    TRUTH,
    UNSURE,
    draw_head,
    draw_landmarks,
    encode_png,
    enlarge,
    label,
    sheet,
)
from kd_loss.schemes.known_yaw import level
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.files import atomic_file
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.terminal import counted

FILES = ("crops.png", "augmented.png")
#: sides in pixels of the large face and of the small ones, and the number of small ones in a row
LARGE, SMALL, COLUMNS = 800, 200, 8
#: augmented samples per face
SAMPLES, FACES = 8, 5


def side_colours(scheme: LandmarkScheme) -> list[tuple[int, int, int]]:
    """Return a colour for each point: first of a pair, second of a pair, or unpaired."""
    colours = [UNSURE] * scheme.points
    for first, second in scheme.pairs:
        colours[first], colours[second] = PREDICTED, OTHER
    return colours


def _dots(image: np.ndarray, points: np.ndarray, scheme: LandmarkScheme, radius: float) -> np.ndarray:
    """Draw the points (K, 2) in pixels on a copy, in the colours of their sides."""
    colours = side_colours(scheme)
    for colour in dict.fromkeys(colours):
        here = np.array([one == colour for one in colours])
        image = draw_landmarks(image, points[here], None, colour, radius)
    return image


def numbered(image: np.ndarray, points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    """Draw the points (K, 2) in pixels with their numbers and the scheme's lines on a copy."""
    picture = _dots(draw_landmarks(image, points, scheme, TRUTH, radius=1), points, scheme, 3)
    for number, (x, y) in enumerate(points):
        if np.isfinite([x, y]).all():
            place = (round(float(x)) + 4, round(float(y)) - 4)
            for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(
                    picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, LARGE / 1900, colour, width, cv2.LINE_AA
                )
    return picture


def paired(image: np.ndarray, points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    """Draw the points (K, 2) in pixels on a copy, with a line from each to its mirror partner."""
    lines = LandmarkScheme(scheme.name, scheme.points, edges=tuple(scheme.pairs))
    return _dots(draw_landmarks(image, points, lines, TRUTH, radius=2), points, scheme, 4)


def _head(crop: np.ndarray, target: np.ndarray, scheme: PoseScheme) -> np.ndarray:
    picture, _ = enlarge(crop, np.zeros((1, 2)), SMALL)
    raw = scheme.raw(target[None])[0]
    return draw_head(picture, np.stack([level(raw[0]), raw[1]]))


def _points(crop: np.ndarray, target: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    face, at = enlarge(crop, geometry.denormalise(target, crop.shape[0]), SMALL)
    return _dots(face, at, scheme, 1.5)


#: kind of scheme -> function that draws a target (N, C) on a small image of a crop
DRAWINGS: dict[type, Callable[..., np.ndarray]] = {LandmarkScheme: _points, PoseScheme: _head}


def _face(crop: np.ndarray, target: np.ndarray, split: PreparedSplit) -> np.ndarray:
    return DRAWINGS[type(split.scheme)](crop, target, split.scheme)


def _large(split: PreparedSplit, index: int) -> list[np.ndarray]:
    """Draw one large face with numbered points and one with mirrored pairs; nothing for a scheme without points."""
    scheme = split.scheme
    if not isinstance(scheme, LandmarkScheme):
        return []
    crop, points = enlarge(split.crop(index), geometry.denormalise(split.target[index], split.size), LARGE)
    loose = scheme.points - 2 * len(scheme.pairs)
    pairs = f"{len(scheme.pairs)} pairs, red and blue; yellow: {counted(loose, 'point')} of no pair"
    return [
        label(numbered(crop, points, scheme), f"{scheme.name}: {scheme.points} points", LARGE // 32),
        label(paired(crop, points, scheme), pairs, LARGE // 32),
    ]


def crop_sheet(split: PreparedSplit, count: int) -> np.ndarray:
    """Draw two large images of one face above `count` faces spread evenly over a split."""
    indices = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
    complete = [i for i in indices if np.isfinite(split.target[i]).all()]
    large = _large(split, int(complete[0] if complete else indices[0]))
    small = []
    for i in indices:
        name = str(split.name[i]).rsplit("/", 1)[-1][-24:]
        small.append(label(_face(split.crop(i), split.target[i], split), name))
    return np.vstack([*([sheet(large, 2)] if large else []), sheet(small, COLUMNS)])


def augmented_sheet(split: PreparedSplit, strength: float, seed: int) -> np.ndarray:
    """Draw a row for each of a few faces: the stored crop, then augmented samples as epochs may show them."""
    augmentation = Augmentation().scaled(strength) if strength else NO_AUGMENTATION
    pictures = []
    for i in np.linspace(0, len(split) - 1, min(FACES, len(split))).astype(int):
        for epoch in range(SAMPLES):
            chosen = augmentation if epoch else NO_AUGMENTATION
            stream = (seed, epoch, int(i))
            _, mirrored = chosen.draw_affine(np.random.default_rng(stream))  # a sample draws this first
            image, points = augment(
                split.images[i], split.target[i], split.size, chosen, split.scheme,
                np.random.default_rng(stream), split.border,
            )  # fmt: skip
            text = "as stored" if not epoch else "mirrored" if mirrored else ""
            pictures.append(label(_face(image, points, split), text))
    return sheet(pictures, SAMPLES)


def write_sheets(
    split: PreparedSplit,
    folder: Path,
    count: int = 24,
    strength: float = 1.0,
    seed: int = 0,
    claims: Claims | None = None,
) -> None:
    """Write both images into a folder."""
    for name, picture in zip(FILES, (crop_sheet(split, count), augmented_sheet(split, strength, seed)), strict=True):
        with atomic_file(folder / name, claims=claims) as path:
            path.write_bytes(encode_png(picture))
