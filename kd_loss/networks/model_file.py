"""Checks the description in a model file before Keras builds the model.

A `.h5` or `.keras` file contains a description of layers, and their weights. A small file can describe layers of any
size, with weights that Keras allocates before it finds them missing; and a `Lambda` layer is Python code. Files of
landmark networks need neither.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_loss.system.errors import UserError, first_line
from kd_loss.system.hdf5 import check_tree, open_hdf5

#: more than three times the largest backbone's weights
MOST_BYTES = 1 << 30
#: largest number in a layer's description: a width, a size, a count
LARGEST = 100_000
MOST_LAYERS = 5_000
#: entries whose numbers may be large because they are not sizes
SIZELESS = ("seed", "shared_object_id", "compile_config", "build_config")


def check_model_file(path: Path) -> None:
    """Reject a `.h5` or `.keras` file that is damaged, contains code, or describes a network larger than any here.

    Raises:
        UserError: with the reason.
    """
    try:
        text = _keras_config(path) if path.suffix == ".keras" else _h5_config(path)
        config = json.loads(text)
    except UserError:
        raise
    except Exception as error:  # damaged HDF5 and zip files raise many types of errors
        reason = first_line(error)
        raise UserError(f"{path} does not load as a Keras model: {reason}") from None
    for count, part in enumerate(_parts(path, config)):
        kind = part.get("class_name")
        if kind == "Lambda":
            raise UserError(f"{path} holds a Lambda layer, which is Python code; such files are not loaded")
        if count > 20 * MOST_LAYERS:
            raise UserError(f"{path} describes more layers than any supported network")


def _h5_config(path: Path) -> str:
    with open_hdf5(path) as file:
        if "model_config" not in file.attrs:
            raise UserError(
                f"{path} does not load as a Keras model: it has no architecture; for weights alone: kd-loss import"
            )
        check_tree(path, file, MOST_BYTES)
        text = file.attrs["model_config"]
        return text.decode() if isinstance(text, bytes) else str(text)


def _keras_config(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > MOST_BYTES or sizes.get("config.json", 0) > 1 << 24:
            raise UserError(f"{path} unpacks to more than {MOST_BYTES >> 20} MiB, the limit for a network")
        config = archive.read("config.json").decode()
    with open_hdf5(path) as file:
        check_tree(path, file, MOST_BYTES)
    return config


def _parts(path: Path, config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a description; rejects numbers too large for any layer."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += (value for name, value in part.items() if name not in SIZELESS)
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, int | float) and LARGEST < abs(part) < float("inf"):
            raise UserError(f"{path} describes a layer with the number {part:g}, larger than in any supported network")
