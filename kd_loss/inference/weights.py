"""Chooses the network file that `predict` opens: an export beside a Keras file starts ten times as fast."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from kd_loss.runtimes.files import embedded_card
from kd_loss.system import bundled
from kd_loss.system.arguments import flag_of, shown
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256

#: the entry of an exported card's training that names the file it was made from, by its SHA-256
EXPORTED_FROM = "exported_from_sha256"
#: number of landmarks -> the shipped student that predicts them
STUDENTS = {
    68: bundled.STUDENTS / "student_w300.h5",
    98: bundled.STUDENTS / "student_wflw.h5",
    29: bundled.STUDENTS / "student_cofw.h5",
}
#: those under the MIT licence, which saw no photograph that excludes commercial use
FREE_STUDENTS = {68: bundled.STUDENTS / "student_free.h5"}


def default_weights(points: int = 68, free: bool = False) -> str:
    """The shipped student of 68, 98 or 29 points, from the working folder, this package's checkout, or the package.

    `free`: that under the MIT licence, which has 68 points. Raises a `UserError` if there is none.
    """
    students = FREE_STUDENTS if flag_of(free, "free") else STUDENTS
    if not isinstance(points, int) or points not in students:
        kind = "student under the MIT licence" if free else "shipped student"
        there = f"there is one of {min(students)}" if free else f"there are {', '.join(map(str, students))}"
        raise UserError(f"no {kind} has {shown(points)} points; {there}")
    found = bundled.shipped(students[points])
    if found is None:
        raise UserError(
            f"{students[points]} is missing; give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5"
        )
    return str(found)


def without_keras(path: Path) -> Path:
    """The `.tflite` of the same network beside a `.h5` or `.keras` file, or in `export/` beside it; else `path`.

    It must be an export of exactly that file, with 32- or 16-bit weights, and LiteRT must be installed.
    """
    if path.suffix not in (".h5", ".keras") or not path.is_file() or not importlib.util.find_spec("ai_edge_litert"):
        return path
    digest = ""
    for folder in (path.parent, path.parent / "export"):
        for ending in ("", "-fp32", "-fp16"):
            export = folder / f"{path.stem}{ending}.tflite"
            if export.is_file():
                digest = digest or sha256(path)
                if _source(export) == digest:
                    return export
    return path


def _source(export: Path) -> str | None:
    """The source file that an export records; None if it records none or is damaged."""
    try:
        training = (embedded_card(export) or {}).get("training")
    except UserError:
        return None
    return training.get(EXPORTED_FROM) if isinstance(training, dict) else None
