"""Reads the contents of an old `.h5` file, its layers' arrays and its architecture, without executing any of it.

Keras 2 wrote whole models (`model.save`) and weights alone (`model.save_weights`) into HDF5 files; Keras 3
still writes the former. Any other file is described by its first bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kd_loss.system.errors import UserError, first_line
from kd_loss.system.hdf5 import open_hdf5

#: more than three times the largest network of the supported backbones; a small file can claim any size
MAX_BYTES = 1 << 30
MAX_LAYERS = 10_000

_STARTS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"MATLAB", "a MATLAB file"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with git lfs pull"),
    (b"<", "a web page or XML, perhaps in place of a download that failed"),
    (b"\x80\x02", "a Python pickle, perhaps of PyTorch"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)


@dataclass(frozen=True)
class OldLayer:
    """A layer with weights: its name and its arrays, float32, by kind (`kernel`, `moving_mean` …)."""

    name: str
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class OldFile:
    """The weights of a file in file order, and its architecture.

    Attributes:
        config: `{"class_name": …, "config": …}` of a whole model, None for a weights-only file.
        version: Keras version that wrote it, if the file states one.
    """

    path: Path
    layers: tuple[OldLayer, ...]
    config: Mapping[str, Any] | None
    version: str

    def __str__(self) -> str:
        what = "weights alone" if self.config is None else "a whole model"
        return f"{self.path}: {what} of Keras {self.version}, {len(self.layers)} layers with weights"


def read_old_file(path: Path) -> OldFile:
    """Read a file of Keras.

    Raises:
        UserError: it is something else (the message names it), damaged, larger than `MAX_BYTES`, refers to other
            files or contains numbers that are not finite.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder{', a SavedModel' if (path / 'saved_model.pb').is_file() else ''}, not a .h5"
        )
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if not start.startswith(b"\x89HDF\r\n\x1a\n"):
        raise UserError(f"{path} is {describe(path, start)}, not an HDF5 file of Keras")
    with _damage(path), open_hdf5(path) as file:
        group = file.get("model_weights", file)
        if not isinstance(group, h5py.Group) or not _names(group, "layer_names"):
            raise UserError(f"{path} is {_describe_hdf5(file)}, not a file of Keras 2")
        layers = tuple(_layers(path, group))
        names = [layer.name for layer in layers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UserError(f"{path} has two layers called {twice!r}")
        if not layers:
            raise UserError(f"{path} is a Keras file without weights")
        config = _text(file, "model_config")
        return OldFile(
            path=path,
            layers=layers,
            config=_config(path, config) if config and group is not file else None,
            version=(_text(file, "keras_version") or _text(group, "keras_version") or "of unknown version")[:20],
        )


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """HDF5 read errors as one line."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        reason = first_line(error)
        raise UserError(f"{path} is a truncated or damaged HDF5 file: {reason}") from None


def _names(group: h5py.Group, key: str) -> list[str]:
    """A list of names among a group's attributes; Keras splits one over 64 KiB into `key0`, `key1` and so on."""
    parts = [group.attrs[key]] if key in group.attrs else []
    while key not in group.attrs and f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    names = [name for part in parts for name in np.ravel(part).tolist()]
    if len(names) > MAX_LAYERS:
        raise UserError(f"{group.file.filename} lists {len(names)} names under {key}, more than any supported network")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _text(group: h5py.Group, key: str) -> str:
    value = group.attrs.get(key, "")
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"the architecture in {path} is not JSON")
    return config


def _layers(path: Path, group: h5py.Group) -> Iterator[OldLayer]:
    """The layers with weights, including those of nested networks, one by one."""
    left = MAX_BYTES
    for group_name in _names(group, "layer_names"):
        names = _names(group[group_name], "weight_names")
        owners: dict[str, dict[str, np.ndarray]] = {}
        for name in names:
            owner, _, kind = name.partition(":")[0].rpartition("/")
            dataset = group[group_name][name]
            left -= _check(path, name, dataset)
            if left < 0:
                raise UserError(
                    f"{path} claims more than {MAX_BYTES >> 20} MiB of weights, more than any supported network"
                )
            array = np.asarray(dataset, np.float32)
            if not np.isfinite(array).all():
                raise UserError(f"{path}: the weight {name} contains numbers that are not finite")
            owners.setdefault(owner, {})[kind.replace("depthwise_kernel", "kernel")] = array
        for owner, arrays in owners.items():
            yield OldLayer(group_name if len(owners) == 1 else owner.rpartition("/")[2], arrays)


def _check(path: Path, name: str, dataset: Any) -> int:
    """The size of a dataset in bytes; rejects anything but a numeric array within the file itself."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise UserError(f"{path}: the weight {name} is not an array of numbers")
    if dataset.file.filename != str(path) or dataset.external or dataset.is_virtual:
        raise UserError(f"{path}: the weight {name} links to another file")
    return dataset.size * 4


def describe(path: Path, start: bytes) -> str:
    """Describes a file that is not HDF5 by its first bytes."""
    if not start:
        return "empty"
    if start.startswith(b"PK"):
        return _describe_zip(path)
    if start[4:8] == b"TFL3":
        return "a LiteRT (.tflite) network"
    for magic, name in _STARTS:
        if start.lower().startswith(magic.lower()):
            return name
    if start[:1] == b"\x08" and path.suffix == ".onnx":
        return "an ONNX network"
    try:
        text = start[: start.rfind(b"\n") + 1 or None].decode()
        if text.isprintable() or ("\n" in text and "\0" not in text):
            return "a text file"
    except UnicodeDecodeError:
        pass
    return f"a file of an unknown kind (it starts with the bytes {start[:4].hex(' ')})"


def _describe_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a truncated or damaged zip archive"
    if "model.weights.h5" in names:
        return "a .keras file of Keras 3 (save it from there as .h5)"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file"
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz archive of NumPy arrays"
    return f"a zip archive of {len(names)} files; unpack it first"


def _describe_hdf5(file: h5py.File) -> str:
    entries = [repr(str(name)[:40]) for name in list(file)[:4]]
    if "layers" in file or "_layer_checkpoint_dependencies" in file:
        return "weights alone of Keras 3 (.weights.h5; save the whole model as .h5)"
    if "optimizer_weights" in file:
        return "the state of an optimizer without a network"
    return f"an HDF5 file without weights of Keras (it holds {', '.join(entries) or 'nothing'})"
