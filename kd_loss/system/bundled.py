"""The networks that come along: in the working folder, beside the package in a checkout, inside an installed one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, sha256

PACKAGE = Path(__file__).resolve().parents[1]
#: file -> SHA-256 of the networks for other runtimes that come along, beside them
SUMS = "sums.json"


def shipped(name: Path) -> Path | None:
    """The place of a file like `models/students/student_w300.h5`; None where it is not.

    A wheel holds the folder `models` inside the package (`setup.py` puts it there), a checkout beside it.
    """
    return next((folder / name for folder in (Path(), PACKAGE.parent, PACKAGE) if (folder / name).is_file()), None)


@cache
def _sums(folder: Path) -> dict[str, str]:
    """Name under `models` -> SHA-256; none where the list is missing."""
    try:
        return read_json(folder / SUMS, "the list of shipped networks")
    except UserError:
        return {}


def came_along(path: Path) -> bool:
    """Whether a file is one of the shipped networks of this package, byte for byte: to be trusted as its code is."""
    place = path.resolve()
    for folder in (PACKAGE.parent / "models", PACKAGE / "models"):
        if place.is_relative_to(folder) and (told := _sums(folder).get(place.relative_to(folder).as_posix())):
            return sha256(place) == told
    return False
