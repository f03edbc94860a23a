"""A teacher's predictions on disk: a folder with a `.npy` per tap and a manifest, one per key, memory-mapped.

The key covers everything that determines the predictions, so other weights or other images never reuse them; a
file with a wrong checksum is made again. Feature maps and heatmaps are stored in half precision.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_folder, one_at_a_time, read_json, reserve, sha256, write_json


def kept_answers(
    folder: Path, key: Mapping[str, Any], write: Callable[[Path], None]
) -> tuple[dict[str, np.ndarray], float]:
    """Tap -> predictions (V, N, …) from disk, written first if absent; and the seconds that writing took.

    Args:
        folder: folder of the records, each in a subfolder named by its key.
        key: everything that determines the predictions, as JSON values; `taps` are the required taps.
        write: writes the `.npy` files into the folder that it receives; if it raises, no files remain.
    """
    place = folder / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    found = _open(place, key)
    if found is not None:
        return found, 0.0
    start = time.perf_counter()
    with one_at_a_time(place):
        found = _open(place, key)  # another run may have written it meanwhile
        if found is not None:
            return found, 0.0
        with atomic_folder(place) as temporary:
            write(temporary)
            files = {path.name: sha256(path) for path in sorted(temporary.glob("*.npy"))}
            write_json(temporary / "manifest.json", {"key": dict(key), "sha256": files})
    found = _open(place, key)
    if found is None:
        raise UserError(f"the teacher's answers in {place} cannot be read back; check the disk")
    return found, time.perf_counter() - start


class AnswerArrays:
    """Writes the `.npy` files of a record; creates them when the first predictions show the taps' shapes.

    Args:
        folder: where to write; views, faces: number of each.
        taps: the required taps.
        limit: largest size on disk, in GB.
        advice: what to do if the record exceeds it, e.g. `raise limit_gb`.
    """

    def __init__(self, folder: Path, views: int, faces: int, taps: Sequence[str], limit: float, advice: str):
        self.folder, self.views, self.faces, self.taps = folder, views, faces, taps
        self.limit, self.advice = limit, advice
        self._arrays: dict[str, np.ndarray] = {}

    def write(self, view: int, start: int, answer: Mapping[str, np.ndarray]) -> None:
        """Store the taps (B, …) of the faces from `start` on.

        Raises:
            UserError: a tap is missing, or the record would exceed the limit.
        """
        if not self._arrays:
            self._make(answer)
        for tap, values in answer.items():
            self._arrays[tap][view, start : start + len(values)] = values

    def _make(self, answer: Mapping[str, np.ndarray]) -> None:
        for tap in (tap for tap in self.taps if tap not in answer):
            raise UserError(f"a teacher has no tap '{tap}'; it has: {', '.join(answer)}")
        kinds = {tap: np.float16 if values.ndim == 4 else np.float32 for tap, values in answer.items()}
        total = sum(
            self.views * self.faces * values[0].size * np.dtype(kinds[tap]).itemsize for tap, values in answer.items()
        )
        if total > self.limit * 1e9:
            raise UserError(f"the teacher's answers would take {total / 1e9:.1f} GB, {self.advice}")
        for tap, values in answer.items():
            file = self.folder / f"{tap}.npy"
            shape = (self.views, self.faces, *values.shape[1:])
            self._arrays[tap] = np.lib.format.open_memmap(file, "w+", kinds[tap], shape)
            reserve(file)

    def flush(self) -> None:
        """Write buffered data to disk."""
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]


def _open(place: Path, key: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Tap -> predictions, or None if there are none, or none that match key and checksums."""
    try:
        manifest = read_json(place / "manifest.json", "the manifest")
        if manifest["key"] != key or {p.stem for p in place.glob("*.npy")} < set(key["taps"]):
            return None
        if any(sha256(place / name) != digest for name, digest in manifest["sha256"].items()):
            return None
        return {
            Path(name).stem: np.load(place / name, mmap_mode="r", allow_pickle=False) for name in manifest["sha256"]
        }
    except (UserError, OSError, KeyError, ValueError):
        return None
