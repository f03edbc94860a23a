"""Clips: a few frames of one scene each, and batches of frame pairs."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np

from kd_loss.imaging.pictures import BadSample, read_image
from kd_loss.keypoints.warp import CONTROL, draw_warps
from kd_loss.synthetic.clips import draw_clip
from kd_loss.system.errors import UserError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
#: number of clips of drawn faces
DRAWN = 300
#: a frame's name: the part before the last digit names the clip, the part before the last number the person
_NAME = re.compile(r"(?P<person>.*?)_?(?P<clip>\d*)(?P<frame>\d)")


@dataclass(frozen=True)
class Clips:
    """Frames (N, S, S, 3) uint8 RGB, the clip of each (N,), and the person of each clip by name."""

    frames: np.ndarray
    clip: np.ndarray
    names: list[str]
    persons: list[str]
    left_out: int = 0

    @property
    def checksum(self) -> str:
        """SHA-256 of the frames and of their persons."""
        digest = hashlib.sha256(repr((self.names, self.persons, self.clip.tolist())).encode())
        digest.update(self.frames.tobytes())
        return digest.hexdigest()

    def split(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """The clips' numbers for training and for validation: about `share` of the persons, chosen by their names.

        If all clips are of one person, some of the clips are held out; with a single clip, none.
        """
        one = len(set(self.persons)) == 1
        of = self.names if one else self.persons
        drawn = {name: zlib.crc32(os.fsencode(name)) % 1000 for name in of}
        held = {name for name, number in drawn.items() if number < 1000 * share}
        if len(held) == len(drawn) or (share and not held):
            count = min(max(1, round(share * len(drawn))), len(drawn) - 1)
            held = set(sorted(drawn, key=lambda name: (drawn[name], name))[:count])
        out = np.array([name in held for name in of])
        return np.flatnonzero(~out), np.flatnonzero(out)


def _grouped(folder: Path) -> dict[str, list[Path]]:
    """Clip -> its frames: the folders within `folder`, or by the names of the images in it."""
    if not folder.is_dir():
        raise UserError(f"no such folder of clips: {folder}")
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    # archives put their images in a folder of that name; beside others it is a clip
    inner = folder / "images" if all(path.is_relative_to(folder / "images") for path in pictures) else folder
    clips: dict[str, list[Path]] = {}
    for path in pictures:
        if path.parent != inner:
            name = str(path.parent.relative_to(inner))
        else:
            found = _NAME.fullmatch(path.stem)
            name = path.stem[:-1] if found else path.stem
        clips.setdefault(name, []).append(path)
    if not clips:
        raise UserError(
            f"{folder} has no images; clips are folders of frames, or frames named person_<clip><frame>.jpg"
        )
    return clips


def _person(clip: str) -> str:
    first = clip.partition("/")[0]
    return first.rpartition("_")[0] or first


def frame_order(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts frame 2 before frame 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def read_pictures(folder: Path, size: int, crop: float = 1.0) -> Clips:
    """All images of a folder, even if no pairs can be made of them; otherwise like `read_clips`."""
    if str(folder) == "synthetic" and not folder.exists():
        return drawn_clips(DRAWN, size, crop=crop)
    groups = _grouped(folder)
    files = [(number, path) for number, paths in enumerate(groups.values()) for path in paths]
    frames = np.stack([square(read_picture(path), size, crop) for _, path in files])
    return Clips(frames, np.array([number for number, _ in files]), list(groups), [_person(name) for name in groups])


def drawn_clips(count: int, size: int, frames: int = 4, crop: float = 1.0) -> Clips:
    """Clips of drawn faces, one person each; drawn so large that their centre has `size` pixels."""
    drawn = (draw_clip(round(size / crop), 0, index, frames) for index in range(count))
    pictures = np.stack([square(image, size, crop) for clip in drawn for image in clip])
    names = [f"drawn{index}" for index in range(count)]
    return Clips(pictures, np.repeat(np.arange(count), frames), names, names)


def read_picture(path: Path) -> np.ndarray:
    """Reads an image (H, W, 3) uint8 RGB; raises a `UserError` if it is none."""
    try:
        return read_image(path, upright=True)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None


def read_clips(folder: Path, size: int, crop: float = 1.0) -> Clips:
    """All clips of two frames or more, as squares of `size` pixels from the centre of the frames.

    `synthetic` instead of a folder, if no folder has that name: drawn faces.

    Args:
        folder: folder of clips (folders of frames, or files `person_<clip><frame>.jpg`), or `synthetic`.
        size: side of the squares in pixels.
        crop: the central share of a frame's shorter side to use.

    Raises:
        UserError: there are no images or no clip with two frames, an image cannot be read, or the frames of a
            clip differ in size.
    """
    if str(folder) == "synthetic" and not folder.exists():
        return drawn_clips(DRAWN, size, crop=crop)
    groups = _grouped(folder)
    long = {name: paths for name, paths in groups.items() if len(paths) > 1}
    if not long:
        raise UserError(
            f"no pair can be made in {folder}: each of its {len(groups)} clips has one frame; frames of one clip "
            f"are named person_<clip><frame>.jpg or lie in a folder of their own"
        )
    frames, clip = [], []
    for number, paths in enumerate(long.values()):
        first = None
        for path in paths:
            image = read_picture(path)
            first = first or (path, image.shape)
            if image.shape != first[1]:
                raise UserError(
                    f"the frames of a clip differ in size: {first[0].name} has {first[1][1]} × {first[1][0]} pixels, "
                    f"{path.name} has {image.shape[1]} × {image.shape[0]}"
                )
            frames.append(square(image, size, crop))
            clip.append(number)
    names = list(long)
    return Clips(np.stack(frames), np.array(clip), names, [_person(n) for n in names], len(groups) - len(long))


def square(image: np.ndarray, size: int, crop: float) -> np.ndarray:
    """The centre of an image (H, W, 3) as (size, size, 3), averaged when downsampled."""
    height, width = image.shape[:2]
    side = max(2, round(min(height, width) * crop))
    top, left = (height - side) // 2, (width - side) // 2
    part = np.ascontiguousarray(image[top : top + side, left : left + side])
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


class PairLoader(keras.utils.PyDataset):
    """Two different frames of each chosen clip, in random order, with a random warp each (`warp`: its strength).

    All random numbers depend on (seed, epoch, batch). A batch: `source`, `driving` (B, S, S, 3) uint8, `affine`
    (B, 2, 3), `plate` (B, 25, 2), and zeros as a placeholder target.
    """

    def __init__(
        self, clips: Clips, chosen: np.ndarray, batch_size: int, seed: int, train: bool = True, warp: float = 1.0
    ):
        super().__init__(workers=1)
        self.warp = warp
        self.clips, self.chosen, self.batch_size = clips, chosen, min(batch_size, len(chosen))
        self.seed, self.train, self.epoch = seed, train, 0
        self._frames = [np.flatnonzero(clips.clip == number) for number in range(len(clips.names))]

    def __len__(self) -> int:
        return len(self.chosen) // self.batch_size

    def __getitem__(self, batch: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        epoch = self.epoch + 1 if self.train else 0
        order = np.random.default_rng((self.seed, epoch)).permutation(self.chosen) if self.train else self.chosen
        rng = np.random.default_rng((self.seed, epoch, batch + 1))
        rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        pairs = np.array([rng.choice(self._frames[row], 2, replace=False) for row in rows])
        images = self.clips.frames[pairs]
        if self.train:
            mirrored = rng.random(len(rows)) < 0.5
            images[mirrored] = images[mirrored, :, :, ::-1]
        affine, plate = draw_warps(rng, len(rows), self.warp)
        named = {"source": images[:, 0], "driving": images[:, 1], "affine": affine, "plate": plate}
        return named, np.zeros(len(rows), np.float32)


class PictureLoader(keras.utils.PyDataset):
    """Single images in random order, half of them mirrored, with a random warp each; no mirroring in validation.

    A batch: `image` (B, S, S, 3) uint8, `affine` (B, 2, 3), `plate` (B, 25, 2), and zeros as a placeholder target.
    """

    def __init__(self, pictures: Clips, chosen: np.ndarray, batch_size: int, seed: int, train: bool = True):
        super().__init__(workers=1)
        self.frames = pictures.frames
        self.rows = np.flatnonzero(np.isin(pictures.clip, chosen))
        self.batch_size = min(batch_size, len(self.rows))
        self.seed, self.train, self.epoch = seed, train, 0

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __getitem__(self, batch: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        if not self.train:
            images = self.frames[self.rows[part]]
            still = np.tile(np.eye(2, 3, dtype=np.float32), (len(images), 1, 1))
            flat = np.zeros((len(images), CONTROL**2, 2), np.float32)
            return {"image": images, "affine": still, "plate": flat}, np.zeros(len(images), np.float32)
        rows = np.random.default_rng((self.seed, self.epoch + 1)).permutation(self.rows)[part]
        rng = np.random.default_rng((self.seed, self.epoch + 1, batch + 1))
        images = self.frames[rows]
        mirrored = rng.random(len(rows)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        affine, plate = draw_warps(rng, len(rows))
        return {"image": images, "affine": affine, "plate": plate}, np.zeros(len(rows), np.float32)


class DetectorPictures:
    """The images of a loader's batches that a detector sees, for `training.statistics`: (images, {})."""

    def __init__(self, loader: PairLoader | PictureLoader):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        named = self.loader[batch][0]
        return np.concatenate([value for name, value in named.items() if name not in ("affine", "plate")]), {}
