"""The inputs of `predict`: pictures, folders, videos, a camera, standard input."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from kd_loss.imaging.pictures import IMAGE_SUFFIXES, BadSample, decode_image, read_image
from kd_loss.system.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
#: FFmpeg's names of containers that hold their own frames
CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "avi", "matroska", "webm", "mpeg", "mpegvideo", "mpegts"),
    *("m4v", "h264", "hevc", "asf", "ogg", "flv"),
)
#: largest size in bytes of a picture on standard input
STDIN_LIMIT = 1 << 28


@dataclass(frozen=True)
class Picture:
    """One picture: its origin, and a function that reads it as (H, W, 3) uint8 RGB, upright."""

    path: Path
    read: Callable[[], np.ndarray]


class Video:
    """A video file or a camera: frames (H, W, 3) uint8 RGB, in order, read once, starting with `open`.

    Attributes:
        path: the file, or `camera-<index>`.
        rate: frames per second; 25 if the source states none.
        count: number of frames, 0 if unknown; an estimate for frames of unequal duration.
        time: time of the last frame read, in seconds from the first one: from the file, for a camera from the
            clock.
    """

    def __init__(self, source: str):
        self.camera = source.isdigit() and not Path(source).is_file()
        self.path = Path(f"camera-{source}" if self.camera else source)
        self._source = source
        self._capture: cv2.VideoCapture | None = None
        self.rate, self.count = 25.0, 0
        self.time = self._longest = 0.0

    def open(self) -> Video:
        """Open it, which takes a file descriptor or the camera; raises a `UserError` if it is no video."""
        if not self.camera and self.path.exists() and not self.path.is_file():
            raise UserError(f"{self.path} is not a regular file")  # a pipe would wait for ever
        try:
            capture = cv2.VideoCapture(int(self._source)) if self.camera else _open_file(Path(self._source))
        except (cv2.error, ValueError):  # also a name that is not UTF-8
            capture = None
        if capture is None or not capture.isOpened():
            what = f"the camera {self._source}" if self.camera else f"{self._source} as a video"
            raise UserError(f"cannot open {what}")
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = float(rate) if 1 <= rate <= 1000 else 25.0
        self.count = 0 if self.camera or not 0 < count < 1e9 else int(count)
        self._capture = capture
        return self

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = self._capture or self.open()._capture
        assert capture is not None
        begun, number, first = time.perf_counter(), 0, 0.0
        try:
            while True:
                ok, frame = capture.read()
                if not ok:
                    return
                position = time.perf_counter() - begun if self.camera else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if number == 0:
                    first, self.time = position, 0.0
                else:
                    step = position - first - self.time
                    # the rate replaces times that are missing or run backwards
                    step = step if np.isfinite(step) and step > 0 else 1 / self.rate
                    self._longest, self.time = max(self._longest, step), self.time + step
                number += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
            self._capture = None

    def breaks_off(self, done: int) -> bool:
        """Whether a file ends early, after so many frames: by their number and by the time of the last one."""
        if self.camera or done >= self.count - max(2, self.count // 50):  # some containers only estimate their number
            return False
        left = self.count / self.rate - self.time
        return left > max(2 / self.rate, self.count / self.rate / 50, 1.5 * self._longest)


def _open_file(path: Path) -> cv2.VideoCapture:
    """Opens a video file with FFmpeg, which may read this file alone: no network, no playlists."""
    name, before = "OPENCV_FFMPEG_CAPTURE_OPTIONS", os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    os.environ[name] = f"protocol_whitelist;file|format_whitelist;{','.join(CONTAINERS)}"
    try:
        # no other backend of OpenCV: one reads a name with % as a sequence of pictures; absolute: never a protocol
        return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture file, rotated by its EXIF orientation; raises a `UserError` that names it if it is none."""
    try:
        image = read_image(path, upright=True)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None
    return _large_enough(image, str(path))


def _large_enough(image: np.ndarray, where: str) -> np.ndarray:
    if min(image.shape[:2]) < 2:
        raise UserError(f"{where} is an image of {image.shape[1]} × {image.shape[0]} pixels, too small for a face")
    return image


def _read_stdin(stream: BinaryIO | None = None) -> np.ndarray:
    if stream is None and sys.stdin is None:
        raise UserError("standard input is closed; no image can be read from it")
    try:
        data = (stream or sys.stdin.buffer).read(STDIN_LIMIT + 1)
    except (OSError, ValueError):
        raise UserError("standard input cannot be read") from None
    if len(data) > STDIN_LIMIT:
        raise UserError("standard input has more than 256 MiB; it is not an image")
    try:
        return _large_enough(decode_image(np.frombuffer(data, np.uint8), upright=True), "standard input")
    except BadSample as error:
        raise UserError(f"standard input {error}") from None


def find_sources(sources: list[str], leave_out: Path | None = None) -> list[Picture | Video]:
    """The named pictures and videos, those in the named folders and their subfolders, `-`, cameras by index.

    `leave_out` is a folder to skip: that of the results of an earlier run.

    Raises:
        UserError: nothing is named, a name is neither, or a folder has none.
    """
    found: list[Picture | Video] = []
    for source in sources:
        path = Path(source)
        if source == "-":
            found.append(Picture(Path("stdin"), _read_stdin))
        elif path.is_dir():
            files = _files_in(path, leave_out)
            if not files:
                raise UserError(f"no image or video in the folder {source}")
            found += [_file(file) for file in files]
        elif path.is_file():
            found.append(_file(path))
        elif source.isdigit():
            found.append(Video(source))
        else:
            raise UserError(f"no such image or video: {source}")
    if not found:
        raise UserError("give an image, e.g. kd-loss predict photograph.jpg")
    return found


def _files_in(folder: Path, leave_out: Path | None) -> list[Path]:
    """Pictures and videos of a tree, skipping hidden folders and links to folders, which may form cycles."""
    nowhere = None if leave_out is None else leave_out.resolve()
    found = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != nowhere)
        found += sorted(here / file for file in files if _suffix(file) in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
    return found


def _suffix(file: str) -> str:
    return Path(file).suffix.lower()


def _file(path: Path) -> Picture | Video:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Video(str(path))
    return Picture(path, lambda: read_picture(path))
