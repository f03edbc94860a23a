"""Image files as arrays."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

from kd_loss.system.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
#: largest image, and largest annotation file of one face, in bytes
MOST_OF_PICTURE, MOST_OF_NOTE = 1 << 30, 1 << 23
#: largest list or table of a whole archive, in bytes
MOST_OF_TABLE = 1 << 30


class BadSample(Exception):
    """A single unusable sample; the message gives the reason."""


def read_file(path: Path, most: int) -> bytes:
    """Read a file of an archive; raises `BadSample` if it has more than `most` bytes or is not a regular file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block forever
            raise BadSample("is not a regular file")
        if status.st_size > most:
            raise BadSample(f"is larger than {most >> 10:,} KiB")
        return path.read_bytes()
    except OSError as error:
        raise BadSample(f"cannot be read ({error.strerror})") from None


def read_text(path: Path, most: int) -> str:
    """Like `read_file`, as text in UTF-8 without a byte order mark; raises `BadSample` for anything else."""
    try:
        return read_file(path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadSample("is not text") from None


def read_image(path: Path, upright: bool = False) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, converting grey and alpha; `BadSample` if it cannot be decoded.

    `upright` applies the EXIF orientation; annotations refer to the pixels as stored.
    """
    return decode_image(np.frombuffer(read_file(path, MOST_OF_PICTURE), np.uint8), upright)


def decode_image(data: np.ndarray, upright: bool = False) -> np.ndarray:
    """Decode the bytes (uint8) of an image file to (H, W, 3) uint8 RGB; see `read_image`."""
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise BadSample("does not decode as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_picture(image: np.ndarray) -> None:
    """Raises a `UserError` for anything but an image, an array (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image is an array (H, W, 3) uint8 RGB, not {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
        raise UserError(f"an image of {image.shape} {image.dtype} is not (H, W, 3) uint8")
