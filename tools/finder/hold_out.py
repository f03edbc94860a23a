"""Which faces take no part in the finder's training."""

from __future__ import annotations

import zlib

#: one in so many photographs and persons is kept apart
HELD_OUT = 10


def held_out(group: str) -> bool:
    """Whether a photograph or person is kept apart from the training; the same at every call and place."""
    return zlib.crc32(group.encode()) % HELD_OUT == 0
