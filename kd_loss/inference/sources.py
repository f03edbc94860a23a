"""What `predict` can be given: pictures, folders, videos, a camera, standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from kd_loss.datasets.sample import IMAGE_SUFFIXES, BadSample, decode_image, read_image
from kd_loss.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
#: most bytes of a picture on standard input
STDIN_LIMIT = 1 << 28


@dataclass(frozen=True)
class Picture:
    """One picture: where it comes from, and a function that reads it as (H, W, 3) uint8 RGB, upright."""

    path: Path
    read: Callable[[], np.ndarray]


class Video:
    """A video file or a camera: frames (H, W, 3) uint8 RGB, in order, read once.

    Attributes:
        path: the file, or `camera-<index>`.
        rate: frames a second; 25 where the source does not say.
        count: number of frames, 0 where it is not known.
    """

    def __init__(self, source: str):
        camera = source.isdigit() and not Path(source).is_file()
        self.path = Path(f"camera-{source}" if camera else source)
        self.camera = camera
        self._capture = cv2.VideoCapture(int(source) if camera else source)
        if not self._capture.isOpened():
            what = f"the camera {source}" if camera else f"{source} as a video"
            raise UserError(f"cannot open {what}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if 1 <= rate <= 1000 else 25.0
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = 0 if camera or not 0 < count < 1e9 else int(count)

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while True:
                ok, frame = self._capture.read()
                if not ok:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()


def read_picture(path: Path) -> np.ndarray:
    """A picture file, turned as its EXIF orientation says; a `UserError` that names it where it is none."""
    try:
        return read_image(path, upright=True)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None


def _read_stdin(stream: BinaryIO | None = None) -> np.ndarray:
    data = (stream or sys.stdin.buffer).read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise UserError("standard input holds more than 256 MiB, not a picture")
    try:
        return decode_image(np.frombuffer(data, np.uint8), upright=True)
    except BadSample as error:
        raise UserError(f"standard input {error}") from None


def find_sources(sources: list[str]) -> list[Picture | Video]:
    """The pictures and videos named, those of the folders named, `-`, and cameras by index, in order.

    Raises:
        UserError: nothing is named, a name is neither, or a folder has none.
    """
    found: list[Picture | Video] = []
    for source in sources:
        path = Path(source)
        if source == "-":
            found.append(Picture(Path("stdin"), _read_stdin))
        elif path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
            if not files:
                raise UserError(f"no picture or video in the folder {source}")
            found += [_file(file) for file in files]
        elif path.is_file():
            found.append(_file(path))
        elif source.isdigit():
            found.append(Video(source))
        else:
            raise UserError(f"no such picture or video: {source}")
    if not found:
        raise UserError("give a picture, e.g. kd-loss predict photograph.jpg")
    return found


def _file(path: Path) -> Picture | Video:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Video(str(path))
    return Picture(path, lambda: read_picture(path))
