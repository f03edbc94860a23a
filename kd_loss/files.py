"""Files that are either whole or absent: atomic writing, checksums, JSON."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_loss.errors import UserError


def disk_error(error: OSError, where: Path) -> UserError:
    """The one line for a failed write: a full disk, a read-only folder or whatever else it was."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"the disk is full at {where}; free some space or choose another folder")
    return UserError(f"cannot write {where}: {error.strerror or error}")


def is_temporary(path: Path) -> bool:
    """Whether a name is one of `atomic_folder`'s or `atomic_file`'s unfinished ones."""
    return path.name.startswith(".tmp-")


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `target` when the block ends without an error.

    What an interrupted earlier run left beside it is removed first, and an `OSError` of writing
    (a full disk, say) becomes a `UserError` with nothing left behind.
    """
    prefix = f".tmp-{target.name}~"  # a sign that no name of a dataset or run has
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        folder.chmod(0o755)
    except OSError as error:
        raise disk_error(error, target) from None
    try:
        yield folder
        if target.exists():  # aside in one step: a kill in between leaves the old one or none, never a half
            target.rename(folder.with_name(folder.name + "-old"))
        folder.rename(target)
        shutil.rmtree(folder.with_name(folder.name + "-old"), ignore_errors=True)
    except OSError as error:
        raise disk_error(error, target) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Let one process at a time make `place`: trainings that are started together want the same things."""
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{place.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise disk_error(error, place) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def atomic_file(target: Path, suffix: str = "") -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends without an error.

    `suffix` is for writers that go by the ending of the name (`.h5`).
    """
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}{suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise disk_error(error, target) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically, indented, with a last newline."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file of at most 16 MiB; a `UserError` names what cannot be read and why."""
    try:
        if path.stat().st_size > 1 << 24:
            raise UserError(f"{what} {path} is larger than 16 MiB")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{what} {path} is not JSON") from None
    if not isinstance(values, dict):
        raise UserError(f"{what} {path} is not a JSON object")
    return values


def reserve(path: Path) -> None:
    """Take the whole size of a sparse file from the disk now.

    Writing to a memory map of a file without room does not fail, it kills the process (SIGBUS); this
    raises the `OSError` of a full disk instead, where the system can do it.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def check_room(path: Path, size: int) -> None:
    """Raise the `OSError` of a full disk where a new file of `size` bytes has no room.

    For libraries that do not say it themselves, as HDF5, which fails in several places at once.
    """
    with path.open("wb") as file:
        file.truncate(size)
    reserve(path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
