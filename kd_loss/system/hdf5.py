"""Safe reading of untrusted HDF5 files: sizes are checked first, and no data outside the file is read.

A few damaged bytes can make HDF5 loop forever (a heap of names that points into itself), so a file is first read in
a separate process.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py

from kd_loss.system import sandbox
from kd_loss.system.errors import UserError

#: more groups than any file here has; a MATLAB file has at most one per cell
MOST_GROUPS = 20_000
#: the network's weights in a `.keras` file
PACKED = "model.weights.h5"
#: time limits of the trial in seconds: for one attribute, for one array, and in all, after which it passes the rest
NAMES, ARRAY, ALL_READS = 3, 30, 60
#: largest array in bytes that the trial reads; of a larger one it reads only the names
MOST_READ = 1 << 28


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, or the weights inside a `.keras` file; raises a `UserError` if the sandbox fails."""
    sandbox.check_trial(path, __name__)
    with _opened(path) as file:
        yield file


def trust(path: Path) -> None:
    """Mark a file that this process has just written as needing no sandbox."""
    sandbox.trust(path, __name__)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive, archive.open(PACKED) as packed, h5py.File(packed, "r") as file:
            yield file
    else:
        with h5py.File(path, "r") as file:
            yield file


def _read_all(path: Path) -> None:
    """Read every attribute and array; raises only errors of memory and leaves HDF5's others to the later open."""
    sandbox.limit_memory()
    end = time.monotonic() + ALL_READS
    with _reading(), _opened(path) as file:
        for entry in (file, *_entries(path, file)):
            names: list[str] = []
            with _reading(NAMES):
                names = list(entry.attrs)
            for name in names:
                with _reading(NAMES):
                    entry.attrs[name]
            if isinstance(entry, h5py.Dataset) and int(entry.size or 0) * entry.dtype.itemsize <= MOST_READ:
                with _reading(ARRAY):
                    entry[()]
            if time.monotonic() > end:
                break


@contextlib.contextmanager
def _reading(seconds: int = 0) -> Iterator[None]:
    """Suppress all errors but those of memory; end the process after `seconds`, if any, where the system can."""
    alarm = getattr(signal, "alarm", lambda _: None)
    alarm(seconds)
    try:
        yield
    except Exception as error:  # damaged HDF5 and zip files raise many types of errors
        if sandbox.out_of_memory(error):
            raise
    finally:
        alarm(0)


def check_dataset(path: Path, entry: object, most_bytes: int) -> h5py.Dataset:
    """Return `entry` if it is an array of at most `most_bytes` inside the file itself; otherwise a `UserError`.

    Raises a `TypeError` if it is not an array.

    HDF5 can store an array in any other file of the machine: external storage, virtual datasets.
    """
    if not isinstance(entry, h5py.Dataset) or entry.shape is None:
        raise TypeError(f"{getattr(entry, 'name', entry)} is not an array")
    if entry.external or entry.is_virtual or entry.file.filename != str(path):
        raise UserError(f"{path}: {entry.name} links to another file; such files are not read")
    if int(entry.size or 0) * entry.dtype.itemsize > most_bytes:
        raise UserError(
            f"{path}: {entry.name} claims {int(entry.size or 0) * entry.dtype.itemsize >> 20} MiB "
            f"(shape {entry.shape}); the limit is {most_bytes >> 20} MiB"
        )
    return entry


def entry_of(path: Path, group: h5py.Group, name: str) -> object:
    """An entry of a group by name; `KeyError` if it is missing, `UserError` for a link outside the file."""
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise UserError(f"{path}: {group.name}/{name} links elsewhere; such files are not loaded")
    return group[name]


def check_tree(path: Path, file: h5py.Group, most_bytes: int) -> None:
    """Reject a file with external links, too many groups, or more than `most_bytes` of arrays in all."""
    left = most_bytes
    for entry in _datasets(path, file):
        check_dataset_inside(path, entry)
        left -= int(entry.size or 0) * entry.dtype.itemsize
        if left < 0:
            raise UserError(
                f"{path} claims more than {most_bytes >> 20} MiB of weights, more than any supported network"
            )


def check_dataset_inside(path: Path, entry: h5py.Dataset) -> None:
    """Reject an array that is stored in another file."""
    if entry.external or entry.is_virtual:
        raise UserError(f"{path}: {entry.name} links to another file; such files are not loaded")


def _datasets(path: Path, file: h5py.Group) -> Iterator[h5py.Dataset]:
    return (entry for entry in _entries(path, file) if isinstance(entry, h5py.Dataset))


def _entries(path: Path, file: h5py.Group) -> Iterator[h5py.Group | h5py.Dataset]:
    groups, seen = [file], 0
    while groups:
        group = groups.pop()
        for name in group:
            entry = entry_of(path, group, name)
            if isinstance(entry, h5py.Group):
                groups.append(entry)
                seen += 1
                if seen > MOST_GROUPS:
                    raise UserError(f"{path} has more groups than any supported network")
            if isinstance(entry, h5py.Group | h5py.Dataset):
                yield entry


if __name__ == "__main__":
    sandbox.answer(lambda: _read_all(Path(sys.argv[1])))
