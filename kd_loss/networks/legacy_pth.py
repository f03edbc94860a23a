"""Reads the tensors of a `.pth` file of PyTorch before 1.6, without PyTorch and without running code from the file.

Such a file is a sequence of five pickles (a magic number, the protocol, the machine, the objects, the keys of the
storages), then the storages, each a 64-bit count and its numbers. A pickle can call anything that it names; here it
may name only a dictionary, the storage types and the function that builds a tensor on a storage.

A tensor has its own strides (kernels may be channels-last): reshaped as if contiguous, it would be noise.
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


# all three are tuples, so that the file cannot change one after the check


class _Kind(NamedTuple):
    """A storage type of `torch`, which determines the type of its numbers."""

    dtype: np.dtype[Any]


class _Storage(NamedTuple):
    """The storage of a tensor's numbers: its key, its length and the type of its numbers."""

    key: str
    length: int
    dtype: np.dtype[Any]


class _Laid(NamedTuple):
    """The description of a tensor: a window on a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _lay(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Laid:
    """Replaces `torch._utils._rebuild_tensor_v2`."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Laid(storage, offset, tuple(shape), tuple(strides))


class _Reader(pickle.Unpickler):
    """An unpickler that accepts only the parts of a dictionary of tensors."""

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
    """Read the tensors of a state dictionary by name, each as a separate contiguous array.

    Args:
        path: a `.pth` file written by `torch.save(model.state_dict(), …)` before PyTorch 1.6, or later with
            `_use_new_zipfile_serialization=False`.

    Raises:
        UserError: the file is missing, of another type, damaged, or contains anything but tensors.
    """
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MiB, the limit for a network")
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises errors of any type
        if path.read_bytes()[:2] == b"PK":
            reason = "it was written by PyTorch 1.6 or later; save it with _use_new_zipfile_serialization=False"
        else:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise UserError(f"{path} is not a PyTorch dictionary of tensors: {reason}") from None


def _read(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    if _Reader(file).load() != MAGIC or _Reader(file).load() != PROTOCOL:
        raise ValueError("its header is wrong")
    if _Reader(file).load().get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    tensors, keys = _Reader(file).load(), _Reader(file).load()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Laid) for tensor in tensors.values()):
        raise ValueError("it has contents other than tensors")
    described = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    stored = {}
    for key in keys:
        storage = described[key]
        if int.from_bytes(file.read(8), "little") != storage.length:
            raise ValueError("a storage is shorter than it declares")
        data = file.read(storage.length * storage.dtype.itemsize) if storage.length < size else b""
        stored[key] = np.frombuffer(data, storage.dtype, storage.length)
    return {name: _laid_out(tensor, stored[tensor.storage.key]) for name, tensor in tensors.items()}


def _laid_out(tensor: _Laid, numbers: np.ndarray) -> np.ndarray:
    """Copy a tensor's window of its storage's numbers."""
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if count and (last >= len(numbers) or count > len(numbers)):
        raise ValueError("a tensor is outside its storage")
    if not count:
        return np.zeros(tensor.shape, numbers.dtype)
    steps = [step * numbers.itemsize for step in tensor.strides]
    window = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)
    return np.array(window, order="C")
