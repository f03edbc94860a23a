"""The maps of a frozen landmark network on all training images and their mirror images, computed once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kd_loss.recognition.card import STEP
from kd_loss.recognition.recogniser import Recogniser
from kd_loss.system.files import atomic_folder, one_at_a_time, read_json, reserve, write_json

log = logging.getLogger(__name__)


def _key(recogniser: Recogniser, pictures: str) -> str:
    """A checksum of the images, of the landmark network and of the maps' shapes."""
    assert recogniser.maps is not None
    digest = hashlib.sha256(repr((pictures, sorted(recogniser.card.maps.items()))).encode())
    for weight in recogniser.maps.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def stored_maps(recogniser: Recogniser, images: np.ndarray, pictures: str, folder: Path) -> dict[str, np.ndarray]:
    """The maps of crops (N, S, S, 3) and of their mirror images: tap -> (N, 2, h, w, C) float16, by memory map.

    Args:
        recogniser: has the landmark network.
        images: the crops.
        pictures: their checksum.
        folder: where the maps lie; they are computed if they are not there.
    """
    if recogniser.maps is None:
        return {}
    target = folder / f"maps-{_key(recogniser, pictures)[:16]}"
    with one_at_a_time(target):
        if not (target / "maps.json").is_file():
            _write(recogniser, images, target)
    names = read_json(target / "maps.json", "the list of maps")["taps"]
    return {name: np.load(target / f"{name}.npy", mmap_mode="r") for name in names}


def _write(recogniser: Recogniser, images: np.ndarray, target: Path) -> None:
    assert recogniser.maps is not None
    shapes: Mapping[str, tuple[int, ...]] = recogniser.card.maps
    size = sum(2 * 2 * len(images) * int(np.prod(shape)) for shape in shapes.values())
    log.info(f"{target}: maps of {len(images):,} images and their mirror images, {size / 1e9:.1f} GB")
    with atomic_folder(target) as folder:
        files = {}
        for name, shape in shapes.items():
            path = folder / f"{name}.npy"
            files[name] = np.lib.format.open_memmap(path, "w+", np.float16, (len(images), 2, *shape))
            reserve(path)
        for start in range(0, len(images), STEP):
            batch = np.asarray(images[start : start + STEP], np.float32)
            for view, seen in enumerate((batch, batch[:, :, ::-1])):
                filled = np.resize(seen, (STEP, *seen.shape[1:]))
                for name, values in recogniser.maps.predict_on_batch(filled).items():
                    files[name][start : start + STEP, view] = values[: len(batch)]
        for file in files.values():
            file.flush()
        write_json(folder / "maps.json", {"taps": list(shapes)})
