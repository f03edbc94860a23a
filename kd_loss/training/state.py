"""The state of a training, whole or absent: weights, optimizer, random seeds, best value, history."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.errors import UserError
from kd_loss.files import atomic_file


def _variables(model: keras.Model) -> list[Any]:
    """Every variable that decides the rest of a training; the order is that of their making."""
    return [*model.variables, *model.optimizer.variables]


def save_state(path: Path, model: keras.Model, **record: Any) -> None:
    """Write all variables of a compiled, built model and a JSON record, atomically."""
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v.value) for i, v in enumerate(_variables(model))}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)


def load_state(path: Path, model: keras.Model) -> dict[str, Any]:
    """Assign what `save_state` wrote to a model built the same way, and return its record."""
    try:
        with np.load(path, allow_pickle=False) as data:
            record = json.loads(str(data["record"]))
            variables = _variables(model)
            if len(variables) != len(data.files) - 1:
                raise UserError(f"{path} belongs to another network")
            for i, variable in enumerate(variables):
                variable.assign(data[f"v{i}"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot resume from {path}: {error}") from None
    return record
