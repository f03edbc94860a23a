"""Records of the files that this package wrote; a command replaces no others.

Every file written into a user's folder is listed in `.kd-loss-files` beside it, one name per line, with line breaks
and backslashes escaped. A line counts only if it is complete. A file that exists but is not listed is the user's,
and so is a folder that contains one. A name is recorded when its file is written, not before: a command that fails
claims no files that it did not write.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from kd_loss.system.errors import UserError, disk_error

RECORD = ".kd-loss-files"
#: exists in a folder while a command writes into it
LOCK = ".kd-loss-lock"
#: largest record or manifest in bytes
_LIMIT = 1 << 26


#: characters in a name that would break its line; records from before escapes were introduced are read unchanged
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPED = {text: char for char, text in _ESCAPES.items()}


def _line(name: str) -> bytes:
    """The line for a name in a record; a name that is not UTF-8 keeps its bytes."""
    text = re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _names(data: bytes) -> set[str]:
    """The names in a record; a last line without a newline is truncated and is ignored."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1]
    return {re.sub(r"\\[\\nr]", lambda found: _UNESCAPED[found[0]], line) for line in lines}


def _files(folder: Path) -> list[str]:
    """All entries of a tree except folders, relative to it; links are not followed."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        found += [Path(root, name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(found)


def recorded(folder: Path) -> set[str]:
    """The files of a folder that this package wrote: those in its record and in a dataset's manifest."""
    names: set[str] = set()
    try:
        if (folder / RECORD).is_file() and (folder / RECORD).stat().st_size < _LIMIT:
            names |= {RECORD, LOCK, *_names((folder / RECORD).read_bytes())}
        if (folder / "manifest.json").is_file() and (folder / "manifest.json").stat().st_size < _LIMIT:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            if {"spec", "size", "counts", "crop", "sha256"} <= manifest.keys():
                names |= {"manifest.json", *manifest["sha256"]}
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        pass  # no proof
    return names - {""}


def record_folder(folder: Path) -> None:
    """Record all files of a folder that was just written."""
    (folder / RECORD).write_bytes(b"".join(_line(name) for name in _files(folder)))


def check_replaceable(target: Path) -> None:
    """Raise a `UserError` unless `target` is absent, an empty folder, or a folder with recorded files only."""
    if not os.path.lexists(target):
        return
    rule = "kd-loss replaces only what it wrote itself; move it away or write elsewhere"
    if target.is_symlink() or not target.is_dir():
        raise UserError(f"{target} already exists and is {'a link' if target.is_symlink() else 'a file'}; {rule}")
    files = _files(target)
    ours = recorded(target) if files else set()
    if files and not ours:
        raise UserError(f"{target} already exists, and kd-loss did not write it; move it away or write elsewhere")
    foreign = [name for name in files if name not in ours]
    if foreign:
        raise UserError(f"{target} holds {foreign[0]}, which kd-loss did not write; {rule}")


def check_free(folder: Path, names: Iterable[str]) -> list[str]:
    """Return those of the files that do not exist; raises a `UserError` if one exists and is not recorded."""
    new: list[str] = []
    there: list[str] = []
    for name in names:
        (there if os.path.lexists(folder / name) else new).append(name)
    if there:
        Claims(folder, there)
    return new


def claim(folder: Path, names: Iterable[str]) -> None:
    """Record files that are being written into a folder; raises a `UserError` if one exists and is not recorded."""
    known = recorded(folder)
    _append(folder, [name for name in check_free(folder, names) if name not in known])


def _whole(record: Path) -> bool:
    """Whether a record is empty or ends with a line."""
    with record.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read() in (b"", b"\n")


def _append(folder: Path, names: Iterable[str]) -> None:
    """Add names to a folder's record in one system call; a name truncated by a full disk is dropped."""
    data = b"".join(_line(name) for name in names)
    if not data:
        return
    record = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if record.is_file() and not _whole(record):
            os.truncate(record, record.read_bytes().rfind(b"\n") + 1)
        with record.open("ab", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise disk_error(error, folder) from None


class Claims:
    """The files that one command writes into a folder, recorded one by one as they are written.

    Args:
        folder: of the results.
        names: files that are certain to be written, relative to the folder.

    Raises:
        UserError: one of them exists and was not written by this package; no name is recorded.
    """

    def __init__(self, folder: Path, names: Iterable[str] = ()):
        self.folder = folder
        self._known = recorded(folder)
        for name in names:
            self.check(folder / name)

    def check(self, file: Path) -> str:
        """Return a file's name in the record; raises a `UserError` if it exists and is not this package's."""
        name = file.relative_to(self.folder).as_posix()
        if name not in self._known and os.path.lexists(file):
            raise UserError(
                f"{file} already exists, and kd-loss did not write it; "
                "move it away or write to another folder (--output)"
            )
        return name

    def add(self, file: Path, made: bool = False) -> None:
        """Record a file whose content is ready to be moved into place, or (`made`) was checked and written there."""
        name = file.relative_to(self.folder).as_posix() if made else self.check(file)
        if name not in self._known:
            _append(self.folder, [name])
            self._known.add(name)
