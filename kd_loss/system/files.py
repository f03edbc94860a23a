"""Files that are either whole or absent: atomic writing, checksums, JSON."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from kd_loss.system.errors import UserError, disk_error
from kd_loss.system.overwrite_guard import LOCK, Claims, check_replaceable, record_folder

#: longest file name in bytes, on most file systems
LONGEST_NAME = 255
#: largest options file in bytes
MOST_OF_TABLE = 1 << 24

#: a JSON object: nested lists, objects, strings and numbers, hence `Any`
Json: TypeAlias = dict[str, Any]


def _named(error: OSError, temporary: Path, target: Path) -> UserError:
    """The `UserError` for an error while `target` was being written under a temporary name."""
    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else temporary
    if file.is_relative_to(temporary):
        return disk_error(error, target / file.relative_to(temporary))
    if file.is_relative_to(target.parent):
        return disk_error(error, target)
    return UserError(f"{file}: {error.strerror or error}")  # not from this write


def _of_target(error: UserError, temporary: Path, target: Path) -> UserError:
    """The error with the name of `target` for the temporary one, which means nothing to a user."""
    text = str(error)
    return UserError(text.replace(str(temporary), str(target))) if str(temporary) in text else error


def is_temporary(path: Path) -> bool:
    """Whether a path is an unfinished folder of `atomic_folder` or file of `atomic_file`."""
    return path.name.startswith(".tmp-")


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `target` when the block ends without an error.

    Leftovers of an interrupted earlier run are removed first. An `OSError` while writing (e.g. a full
    disk) becomes a `UserError`, and no files remain.

    Raises:
        UserError: `target` exists and was not written by this package, or another process is writing it.
    """
    check_replaceable(target)
    prefix = f".tmp-{target.name}~"  # `~` occurs in no name of a dataset or run
    with _alone(target, target.with_name(f"{prefix}lock")):
        try:
            for leftover in target.parent.glob(f"{glob.escape(prefix)}*"):
                if leftover.name.endswith("-old") and not os.path.lexists(target):
                    leftover.rename(target)  # a run was killed between two renames
                elif leftover.is_dir() and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            folder.chmod(0o755)
        except OSError as error:
            raise disk_error(error, target) from None
        try:
            yield folder
            record_folder(folder)
            check_replaceable(target)  # it may have changed meanwhile
            if target.exists():  # moved aside in one step: a kill leaves the old one or none, never half of one
                target.rename(folder.with_name(folder.name + "-old"))
            folder.rename(target)
            shutil.rmtree(folder.with_name(folder.name + "-old"), ignore_errors=True)
        except OSError as error:
            raise _named(error, folder, target) from None
        except UserError as error:
            raise _of_target(error, folder, target) from error.__cause__
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _alone(target: Path, lock_file: Path) -> Iterator[None]:
    """Raise a `UserError` if another process is writing `target`; the system frees the lock of a killed process.

    On a file system without locks this check has no effect.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"another kd-loss process is writing {target}; wait until it has finished") from None
    except NotImplementedError:
        pass
    except OSError as error:
        raise disk_error(error, target) from None
    try:
        yield
    finally:
        lock_file.unlink(missing_ok=True)  # while it is held, so that no process waits on an unlinked file
        lock.release()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Create a folder and let one process at a time write into it; the others get a `UserError`.

    A folder that was created here and stayed empty is removed again.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from None
    try:
        with _alone(folder, folder / LOCK):
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # removes only an empty one


@contextlib.contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Let one process at a time create `place`: trainings that start together need the same files."""
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


def _temporary_name(target: Path, suffix: str) -> Path:
    host = re.sub(r"[^A-Za-z0-9]", "", platform.node())[:64] or "host"
    name = f".tmp-{host}-{os.getpid()}~{target.name}{suffix}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]
        name = f".tmp-{host}-{os.getpid()}~{digest}{suffix}"
    return target.with_name(name)


_swept: set[Path] = set()


def _sweep(folder: Path) -> None:
    """Remove unfinished files of killed processes of this machine from a folder; once per process."""
    if folder in _swept or os.name != "posix":
        return
    _swept.add(folder)
    pattern = re.compile(re.escape(_temporary_name(Path("x"), "").name.partition(f"{os.getpid()}~")[0]) + r"(\d+)~.+")
    for entry in os.scandir(folder):
        found = pattern.fullmatch(entry.name)
        if found and entry.is_file(follow_symlinks=False) and not _alive(int(found[1])):
            Path(entry).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def atomic_file(target: Path, suffix: str = "", claims: Claims | None = None) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends without an error.

    `suffix` is for writers that depend on the file extension (`.h5`); `claims` records the file as this package's
    once its content is complete. Unfinished files of killed processes in the folder are removed.
    """
    temporary = _temporary_name(target, suffix)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        yield temporary
        if claims is not None:
            claims.add(target)
        temporary.replace(target)
    except OSError as error:
        raise _named(error, temporary, target) from None
    except UserError as error:
        raise _of_target(error, temporary, target) from error.__cause__
    finally:
        temporary.unlink(missing_ok=True)


def _finite(values: Any) -> Any:
    """Replaces NaN and infinity, which JSON lacks, by null."""
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def to_json(values: Any) -> str:
    """One line of JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(values), allow_nan=False)


def write_json(path: Path, values: Any, claims: Claims | None = None) -> None:
    """Write JSON atomically, indented, with a final newline; a number that is not finite becomes null."""
    with atomic_file(path, claims=claims) as temporary:
        text = json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # a name that is not UTF-8 becomes JSON's own escape
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, what: str) -> Json:
    """Read a JSON object from a file of at most 16 MiB; raises a `UserError` with the reason."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{what} {path} is not a regular file")  # a pipe would block forever
        if status.st_size > 1 << 24:
            raise UserError(f"{what} {path} is larger than 16 MiB")
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{what} {path} is not JSON: {error}") from None
    except DuplicateKey as error:
        raise UserError(f"{what} {path}: {error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{what} {path} is not JSON") from None
    if not isinstance(values, dict):
        raise UserError(f"{what} {path} is not a JSON object")
    return values


def read_table(path: Path, what: str) -> dict[str, Any]:
    """Read a table of options from a hand-written JSON or TOML file; rejects duplicate keys, pipes and huge files.

    Raises:
        UserError: with the reason; the message calls the file `what`.
    """
    toml = path.suffix == ".toml"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block forever
            raise UserError(f"the {what} {path} is not a regular file")
        if status.st_size > MOST_OF_TABLE:
            raise UserError(f"the {what} {path} is larger than {MOST_OF_TABLE >> 20} MiB")
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if toml else json.loads(text, object_pairs_hook=_once)
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        expected = "TOML" if toml else "JSON" if path.suffix == ".json" else "JSON (or TOML in a file named .toml)"
        raise UserError(f"the {what} {path} is not {expected}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"the {what} {path} is not a table of options")
    return values


class DuplicateKey(ValueError):
    """A key stands twice in a JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON table; rejects duplicate keys."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise DuplicateKey(f"'{next(name for name in names if names.count(name) > 1)}' appears twice")
    return table


def reserve(path: Path) -> None:
    """Allocate the full size of a sparse file on disk now.

    Writing to a memory map on a full disk does not raise, it kills the process (SIGBUS); this raises the
    `OSError` of a full disk instead, where the system supports it.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def check_room(path: Path, size: int) -> None:
    """Raise the `OSError` of a full disk if a new file of `size` bytes does not fit.

    For libraries that do not report it themselves, such as HDF5, which fails in several places at once.
    """
    with path.open("wb") as file:
        file.truncate(size)
    reserve(path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
