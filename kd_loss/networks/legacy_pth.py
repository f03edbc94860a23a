"""Reads the tensors of a `.pth` file of PyTorch before 1.6, without PyTorch and without running anything of the file.

Such a file is five pickles one after the other (a magic number, the protocol, the machine, the objects, the keys of
the storages) and then the storages, each a 64-bit count and its numbers. A pickle may call whatever it names; here it
may name a dictionary, the types of storages and the function that lays a tensor over one, and nothing else.

A tensor has strides of its own (kernels may lie channels-last): reshaped as if it were contiguous it is noise.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kd_loss.networks.model_file import MOST_BYTES
from kd_loss.system.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}


# tuples all three: nothing of the file can change one after it was checked


class _Kind(NamedTuple):
    """A type of storage in `torch`: what its numbers are."""

    dtype: np.dtype[Any]


class _Storage(NamedTuple):
    """Where a tensor's numbers lie: the key and length of a storage, and what its numbers are."""

    key: str
    length: int
    dtype: np.dtype[Any]


class _Laid(NamedTuple):
    """A tensor as it is described: a window on a storage, in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _lay(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Laid:
    """In the place of `torch._utils._rebuild_tensor_v2`."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Laid(storage, offset, tuple(shape), tuple(strides))


class _Reader(pickle.Unpickler):
    """An unpickler that knows what a dictionary of tensors is made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _lay
        if module == "torch" and name in _TYPES:
            return _Kind(np.dtype(_TYPES[name]))
        raise pickle.UnpicklingError(f"it names {module}.{name}"[:100])

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage" or not isinstance(pid[1], _Kind):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        _, kind, key, _, count, view = pid
        if view is not None or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("a storage that is part of another one")
        return _Storage(str(key), count, kind.dtype)


def read_legacy_pth(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary by name, each a contiguous array of its own.

    Args:
        path: a `.pth` file written by `torch.save(model.state_dict(), …)` before PyTorch 1.6, or since with
            `_use_new_zipfile_serialization=False`.

    Raises:
        UserError: the file is missing, of another kind, damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB; no network here is")
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises whatever there is
        if path.read_bytes()[:2] == b"PK":
            reason = "it was written by PyTorch 1.6 or later; save it with _use_new_zipfile_serialization=False"
        else:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise UserError(f"{path} is no dictionary of tensors of PyTorch: {reason}") from None


def _read(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    if _Reader(file).load() != MAGIC or _Reader(file).load() != PROTOCOL:
        raise ValueError("it does not start as one")
    if _Reader(file).load().get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    tensors, keys = _Reader(file).load(), _Reader(file).load()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Laid) for tensor in tensors.values()):
        raise ValueError("it holds something else than tensors")
    described = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    stored = {}
    for key in keys:
        storage = described[key]
        if int.from_bytes(file.read(8), "little") != storage.length:
            raise ValueError("a storage is not as long as it says")
        data = file.read(storage.length * storage.dtype.itemsize) if storage.length < size else b""
        stored[key] = np.frombuffer(data, storage.dtype, storage.length)
    return {name: _laid_out(tensor, stored[tensor.storage.key]) for name, tensor in tensors.items()}


def _laid_out(tensor: _Laid, numbers: np.ndarray) -> np.ndarray:
    """The window of a tensor on its storage's numbers, copied."""
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if count and (last >= len(numbers) or count > len(numbers)):
        raise ValueError("a tensor lies outside of its storage")
    if not count:
        return np.zeros(tensor.shape, numbers.dtype)
    steps = [step * numbers.itemsize for step in tensor.strides]
    window = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)
    return np.array(window, order="C")
