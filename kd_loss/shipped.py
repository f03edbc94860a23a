"""The networks that come along: in the working folder, beside the package in a checkout, inside an installed one."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(name: Path) -> Path | None:
    """The place of a file like `models/students/student_w300.h5`; None where it is not.

    A wheel holds the folder `models` inside the package (`setup.py` puts it there), a checkout beside it.
    """
    return next((folder / name for folder in (Path(), PACKAGE.parent, PACKAGE) if (folder / name).is_file()), None)
