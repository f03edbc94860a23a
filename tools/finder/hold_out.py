"""Which faces take no part in the finder's training."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

#: one in so many photographs and persons is kept apart
HELD_OUT = 10


def held_out(group: str) -> bool:
    """Whether a photograph or person is kept apart from the training; the same at every call and place."""
    return zlib.crc32(group.encode()) % HELD_OUT == 0


def held_out_number(group: str) -> bool:
    """Whether an image of AFLW is kept apart: those whose number ends in 0, a tenth."""
    return _number(group) % HELD_OUT == 0


def odd_number(group: str) -> bool:
    """Whether a photograph without annotation is kept apart: those of an odd number."""
    return _number(group) > 0 and _number(group) % 2 == 1


def _number(group: str) -> int:
    """The last number in a file's name; -1 where there is none."""
    numbers = re.findall(r"\d+", Path(group).stem)
    return int(numbers[-1]) if numbers else -1
