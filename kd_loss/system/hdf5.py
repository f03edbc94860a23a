"""HDF5 files of strangers: sizes are counted before anything is read, and nothing outside of the file is.

HDF5 itself can be held for ever by a few damaged bytes (a heap of names that points into itself): a file is read in a
process of its own first.
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

#: more groups than any file here has; a MATLAB file has one for each cell at most
MOST_GROUPS = 20_000
#: the network's weights in a `.keras` file
PACKED = "model.weights.h5"
#: seconds that the trial gives to one attribute and to one array, and after which it takes the rest for sound
NAMES, ARRAY, ALL_READS = 3, 30, 60
#: bytes of an array that the trial reads; of a larger one its names only
MOST_READ = 1 << 28


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """A file open for reading, or what a `.keras` file packs; `UserError` where it did not survive its sandbox."""
    sandbox.check_trial(path, __name__)
    with _opened(path) as file:
        yield file


def trust(path: Path) -> None:
    """A file that this process has just written needs no sandbox."""
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
    """Read every attribute and array; what HDF5 raises is left to the one who opens the file, memory apart."""
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
    """Errors but those of memory pass; after `seconds`, if any, the process is ended where the system can."""
    alarm = getattr(signal, "alarm", lambda _: None)
    alarm(seconds)
    try:
        yield
    except Exception as error:  # HDF5 and zip files break in many ways
        if sandbox.out_of_memory(error):
            raise
    finally:
        alarm(0)


def check_dataset(path: Path, entry: object, most_bytes: int) -> h5py.Dataset:
    """`entry` if it is an array of at most `most_bytes` within the file itself; a `UserError` otherwise.

    `TypeError` for what is no array.

    HDF5 can keep an array in any other file of the machine: external storage, virtual datasets.
    """
    if not isinstance(entry, h5py.Dataset) or entry.shape is None:
        raise TypeError(f"{getattr(entry, 'name', entry)} is no array")
    if entry.external or entry.is_virtual or entry.file.filename != str(path):
        raise UserError(f"{path}: {entry.name} points into another file; such files are not read")
    if int(entry.size or 0) * entry.dtype.itemsize > most_bytes:
        raise UserError(
            f"{path}: {entry.name} claims {int(entry.size or 0) * entry.dtype.itemsize >> 20} MiB "
            f"(shape {entry.shape}); no such array here has more than {most_bytes >> 20} MiB"
        )
    return entry


def entry_of(path: Path, group: h5py.Group, name: str) -> object:
    """An entry of a group by name, `KeyError` where it is missing; a `UserError` for a link to elsewhere."""
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise UserError(f"{path}: {group.name}/{name} points elsewhere; such files are not loaded")
    return group[name]


def check_tree(path: Path, file: h5py.Group, most_bytes: int) -> None:
    """Refuse a file with links to elsewhere, too many groups, or more than `most_bytes` of arrays together."""
    left = most_bytes
    for entry in _datasets(path, file):
        check_dataset_inside(path, entry)
        left -= int(entry.size or 0) * entry.dtype.itemsize
        if left < 0:
            raise UserError(f"{path} claims more than {most_bytes >> 20} MiB of weights; no network here has that")


def check_dataset_inside(path: Path, entry: h5py.Dataset) -> None:
    """Refuse an array that is kept in another file."""
    if entry.external or entry.is_virtual:
        raise UserError(f"{path}: {entry.name} points into another file; such files are not loaded")


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
                    raise UserError(f"{path} holds more groups than any network here")
            if isinstance(entry, h5py.Group | h5py.Dataset):
                yield entry


if __name__ == "__main__":
    sandbox.answer(lambda: _read_all(Path(sys.argv[1])))
