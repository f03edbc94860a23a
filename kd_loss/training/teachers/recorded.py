"""Asking a teacher once: its answers about all faces of a split, kept on disk and memory-mapped.

They lie in `runs/<dataset>/teacher-answers/<key>/`, a `.npy` per tap and a manifest. The key is made from
the checksums of weights and pictures and of whatever else decides the answers, so that other weights, other
data or another augmentation never meet old answers; a file that does not fit its checksum is made again. Feature
maps and heatmaps are kept in half precision.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.order import FaceOrder
from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.datasets.view import Answers, View
from kd_loss.imaging import geometry
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_folder, one_at_a_time, read_json, reserve, sha256, write_json

#: pictures (B, S, S, 3) uint8 -> tap name -> (B, …)
Ask = Callable[[np.ndarray], Mapping[str, np.ndarray]]
#: changes when old answers are to be forgotten
FORMAT = 2
BATCH = 32


@dataclasses.dataclass(frozen=True)
class Views:
    """The fixed augmentations that a teacher is asked about: `count` of each face; 0: as it is stored.

    Attributes:
        context: of faces as they are stored: how many times wider than the crop the teacher sees them.
        mirror: whether it sees them mirrored.
    """

    count: int = 0
    augmentation: Augmentation | None = None
    seed: int = 0
    context: float = 1.0
    mirror: bool = False

    def describe(self) -> dict[str, Any]:
        """What decides the pictures, for the key."""
        if not self.count:
            return {"count": 0, "context": self.context, "mirror": self.mirror}
        return {"count": self.count, "seed": self.seed, "augmentation": dataclasses.asdict(self.augmentation)}  # type: ignore[arg-type]


def answers_key(weights: str, data: str, taps: list[str], size: int, views: Views) -> dict[str, Any]:
    """Everything that decides the answers; `weights` and `data` are checksums."""
    return {
        "format": FORMAT,
        "weights": weights,
        "data": data,
        "taps": sorted(taps),
        "size": size,
        "views": views.describe(),
    }


def recorded_answers(
    ask: Ask, split: PreparedSplit, folder: Path, key: Mapping[str, Any], *, size: int, views: Views, limit: float
) -> tuple[Answers, float]:
    """The answers from disk, or the teacher's own, written there; and the seconds that asking took, 0 from disk.

    Args:
        folder: where the answers of a dataset lie; key: see `answers_key`.
        size: side of the pictures that the teacher is asked about.
        limit: the most that one teacher's answers may take on disk, in GB; a `UserError` where they want more.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    place = folder / name
    found = _open(place, key)
    if found is not None:
        return Answers(found, views.count), 0.0
    start = time.perf_counter()
    with one_at_a_time(place):
        found = _open(place, key)  # another run may have asked meanwhile
        if found is not None:
            return Answers(found, views.count), 0.0
        with atomic_folder(place) as temporary:
            _record(ask, split, temporary, key["taps"], size, views, limit)
            files = {path.name: sha256(path) for path in sorted(temporary.glob("*.npy"))}
            write_json(temporary / "manifest.json", {"key": dict(key), "sha256": files})
    found = _open(place, key)
    if found is None:
        raise UserError(f"the teacher's answers in {place} cannot be read back; is the disk sound?")
    return Answers(found, views.count), time.perf_counter() - start


def _record(
    ask: Ask, split: PreparedSplit, folder: Path, taps: list[str], size: int, views: Views, limit: float
) -> None:
    count = max(1, views.count)
    if views.count:
        seen = View(size, views.augmentation or NO_AUGMENTATION, count=views.count)
    else:
        seen = View(size, look=geometry.similarity(0.0, 1 / views.context, (0, 0), views.mirror))
    loader = FaceLoader(FaceOrder(split, seed=views.seed), seen, batch_size=BATCH)
    arrays: dict[str, np.ndarray] = {}
    for view in range(count):
        loader.epoch = view
        for batch in range(len(loader)):
            answer = dict(ask(loader[batch][0]))
            answer["landmarks"] = np.asarray(answer["landmarks"]) * views.context
            if not arrays:
                for tap in (tap for tap in taps if tap not in answer):
                    raise UserError(f"a teacher has no tap '{tap}'; it gives: {', '.join(answer)}")
                kinds = {tap: np.float16 if values.ndim == 4 else np.float32 for tap, values in answer.items()}
                total = sum(
                    count * len(split) * values[0].size * np.dtype(kinds[tap]).itemsize
                    for tap, values in answer.items()
                )
                if total > limit * 1e9:
                    raise UserError(
                        f"the teacher's answers would take {total / 1e9:.1f} GB, --cache-limit is {limit:g}; "
                        "raise it, take fewer --teacher-views, or --teachers live"
                    )
                for tap, values in answer.items():
                    arrays[tap] = np.lib.format.open_memmap(
                        folder / f"{tap}.npy", "w+", kinds[tap], (count, len(split), *values.shape[1:])
                    )
                    reserve(folder / f"{tap}.npy")
            for tap, values in answer.items():
                arrays[tap][view, batch * BATCH : batch * BATCH + len(values)] = values
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]


def _open(place: Path, key: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Tap -> answers, or None where there are none, or none that fit key and checksums."""
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
