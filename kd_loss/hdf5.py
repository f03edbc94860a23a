"""HDF5 files of strangers: sizes are counted before anything is read, and nothing outside of the file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py

from kd_loss.errors import UserError

#: more groups than any file here has; a MATLAB file has one for each cell at most
MOST_GROUPS = 20_000


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
            elif isinstance(entry, h5py.Dataset):
                yield entry
