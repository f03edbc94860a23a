"""What this package wrote: a command replaces nothing else.

Whatever is written into a folder of the user's is named in `.kd-loss-files` beside it, a name a line. A file that
is there and not named is the user's, and so is a folder with such a file in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from kd_loss.system.errors import UserError, disk_error

RECORD = ".kd-loss-files"
#: most bytes of a record or manifest
_LIMIT = 1 << 26


def _files(folder: Path) -> list[str]:
    """Every entry of a tree that is no folder, relative to it; links are not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        found += [Path(root, name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(found)


def recorded(folder: Path) -> set[str]:
    """The files of a folder that are this package's: those of its record, and of a dataset's manifest."""
    names: set[str] = set()
    try:
        if (folder / RECORD).is_file() and (folder / RECORD).stat().st_size < _LIMIT:
            text = (folder / RECORD).read_text(encoding="utf-8", errors="surrogateescape")
            names |= {RECORD, *text.split("\n")}
        if (folder / "manifest.json").is_file() and (folder / "manifest.json").stat().st_size < _LIMIT:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if {"spec", "size", "counts", "crop", "sha256"} <= manifest.keys():
                names |= {"manifest.json", *manifest["sha256"]}
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        pass  # no proof
    return names - {""}


def record_folder(folder: Path) -> None:
    """Name all files of a folder that was just written in its record."""
    text = "".join(f"{name}\n" for name in _files(folder))
    (folder / RECORD).write_text(text, encoding="utf-8", errors="surrogateescape")


def check_replaceable(target: Path) -> None:
    """A `UserError` unless `target` is absent, an empty folder, or a folder of nothing but recorded files."""
    if not os.path.lexists(target):
        return
    rule = "kd-loss replaces only what it wrote itself; move it away or write elsewhere"
    if target.is_symlink() or not target.is_dir():
        raise UserError(f"{target} is there already and is {'a link' if target.is_symlink() else 'a file'}; {rule}")
    files = _files(target)
    ours = recorded(target) if files else set()
    if files and not ours:
        raise UserError(f"{target} is there already, and kd-loss did not write it; move it away or write elsewhere")
    foreign = [name for name in files if name not in ours]
    if foreign:
        raise UserError(f"{target} holds {foreign[0]}, which is not from kd-loss; {rule}")


def check_free(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of some files that are not there; a `UserError` where one is there and not recorded."""
    new: list[str] = []
    there: list[str] = []
    for name in names:
        (there if os.path.lexists(folder / name) else new).append(name)
    ours = recorded(folder) if there else set()
    for name in there:
        if name not in ours:
            raise UserError(
                f"{folder / name} is there already, and kd-loss did not write it; "
                "move it away or write to another folder (--output)"
            )
    return new


def claim(folder: Path, names: Iterable[str]) -> None:
    """Record files that are about to be written into a folder; a `UserError` where one is there and not recorded."""
    known = recorded(folder)  # a killed run may have recorded what it did not write
    new = [name for name in check_free(folder, names) if name not in known]
    if not new:
        return
    record = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # a kill or a full disk may have cut the last name
        cut = record.is_file() and not record.read_bytes().endswith(b"\n")
        with record.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n" * cut + "".join(f"{name}\n" for name in new))
    except OSError as error:
        raise disk_error(error, folder) from None
