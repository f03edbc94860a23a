"""The shipped networks: in the working folder, beside the package in a checkout, or inside an installed package."""

from __future__ import annotations

from functools import cache
from os import PathLike
from pathlib import Path

from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, sha256

PACKAGE = Path(__file__).resolve().parents[1]
#: folder of the shipped students
STUDENTS = Path("models", "students")
#: list beside the shipped networks for other runtimes: file -> SHA-256
SUMS = "sums.json"


def shipped(name: Path) -> Path | None:
    """The path of a shipped file such as `models/students/student_w300.h5`; None if it is not found.

    A wheel holds the folder `models` inside the package (`setup.py` puts it there), a checkout beside it.
    """
    return next((folder / name for folder in (Path(), PACKAGE.parent, PACKAGE) if (folder / name).is_file()), None)


def weights_path(weights: str | PathLike[str]) -> Path:
    """The path of a network's file, given as that, or as the name of a shipped student, e.g. `student_w300_tiny`.

    A file of that name comes first.
    """
    path = Path(weights)
    if path.suffix or len(path.parts) != 1 or path.is_file():
        return path
    return shipped(STUDENTS / f"{path.name}.h5") or path


@cache
def _sums(folder: Path) -> dict[str, str]:
    """Name under `models` -> SHA-256; empty if the list is missing."""
    try:
        return read_json(folder / SUMS, "the list of shipped networks")
    except UserError:
        return {}


def came_along(path: Path) -> bool:
    """Whether a file is, byte for byte, one of this package's shipped networks, and so as trustworthy as its code."""
    place = path.resolve()
    for folder in (PACKAGE.parent / "models", PACKAGE / "models"):
        if place.is_relative_to(folder) and (recorded := _sums(folder).get(place.relative_to(folder).as_posix())):
            return sha256(place) == recorded
    return False
