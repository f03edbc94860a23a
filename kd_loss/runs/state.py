"""The state of a training, whole or absent: weights, optimizer, random seeds, best value, history."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.system.errors import UserError, first_line
from kd_loss.system.files import atomic_file


def _variables(model: keras.Model) -> list[Any]:
    """Return every variable that determines the rest of a training, in order of creation."""
    return [*model.variables, *model.optimizer.variables]


def save_state(path: Path, model: keras.Model, **record: Any) -> None:
    """Write all variables of a compiled, built model and a JSON record, atomically."""
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v.value) for i, v in enumerate(_variables(model))}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)


def check_declared(path: Path) -> None:
    """Raise if an archive of arrays declares more numbers than it has bytes for: NumPy would allocate them all."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
                if math.prod(shape) * kind.itemsize > entry.file_size:
                    raise UserError(f"{path}: {entry.filename} claims {shape}, more than it holds")


def load_state(path: Path, model: keras.Model) -> dict[str, Any]:
    """Restore a state saved by `save_state` to a model built the same way, and return its record."""
    try:
        with np.load(path, allow_pickle=False) as data:
            check_declared(path)
            record = json.loads(str(data["record"]))
            if not isinstance(record.get("history"), list) or "best" not in record:
                raise ValueError("its record is incomplete")
            variables = _variables(model)
            if len(variables) != len(data.files) - 1:
                raise UserError(f"{path} belongs to another network")
            for i, variable in enumerate(variables):
                variable.assign(data[f"v{i}"])
    except UserError:
        raise
    except Exception as error:  # NumPy, zlib and the backend each raise their own types
        reason = first_line(error)
        raise UserError(f"cannot resume from {path}: {reason}; train again under another --name") from None
    return record
