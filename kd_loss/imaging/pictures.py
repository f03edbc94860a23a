"""Picture files as arrays."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class BadSample(Exception):
    """A single sample that cannot be used; its text says what is wrong with it."""


def read_image(path: Path, upright: bool = False) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, grey and alpha converted; `BadSample` if it does not decode.

    `upright` turns it as its EXIF orientation says; annotations are in the pixels as stored.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise BadSample("is not a regular file")
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadSample(f"cannot be read ({error.strerror})") from None
    return decode_image(data, upright)


def decode_image(data: np.ndarray, upright: bool = False) -> np.ndarray:
    """The bytes (uint8) of an image file as (H, W, 3) uint8 RGB; see `read_image`."""
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise BadSample("does not decode as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
