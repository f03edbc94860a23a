"""The checksum of a teacher: of its weights, file or source code; everything that determines its predictions."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import marshal
from typing import Any

import keras
import numpy as np

from kd_loss.networks.landmark_net import LandmarkNet
from kd_loss.networks.tapped_model import TappedModel
from kd_loss.system.files import sha256
from kd_loss.training.teachers.foreign import RuntimeTeacher
from kd_loss.training.teachers.teacher import FunctionTeacher, LiveTeacher, Teacher


def teacher_checksum(teacher: Teacher) -> str:
    """SHA-256 of a teacher, the same in every process.

    For a Keras network it covers the architecture and the weights; for a file, the file and its card; for a function,
    its name, its source code and what it is bound to: arrays, Keras models, functions, numbers and strings. It cannot
    cover what a function reads elsewhere, from files or global variables.
    """
    digest = hashlib.sha256()
    if isinstance(teacher, LiveTeacher):
        _add(digest, teacher.network, teacher.point_map)
    elif isinstance(teacher, FunctionTeacher):
        _add(digest, teacher.function, teacher.size, teacher.coordinates.low, teacher.coordinates.span)
        _add(digest, teacher.point_map)
    else:
        _add(digest, teacher)
    return digest.hexdigest()


def _add(digest: Any, *values: Any) -> None:
    """Add values to a checksum, each after its type's name; values of other types add their type's name only."""
    for value in values:
        digest.update(f"\0{type(value).__qualname__}\0".encode())
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, keras.Model):
            _add_model(digest, value)
        elif isinstance(value, LandmarkNet):
            _add(digest, value.model)
        elif isinstance(value, TappedModel):
            _add(digest, value.model, value.coordinates.low, value.coordinates.span, json.dumps(value.named))
        elif isinstance(value, RuntimeTeacher):
            for path in (value.source, value.source.with_suffix(".json")):
                digest.update(sha256(path).encode() if path.is_file() else b"-")
            _add_function(digest, value.function)
        elif isinstance(value, str | bytes | int | float | bool | None):
            digest.update(repr(value).encode())
        elif isinstance(value, tuple | list):
            _add(digest, *value)
        elif callable(value) or isinstance(value, Teacher):
            _add_function(digest, value)


def _add_model(digest: Any, model: keras.Model) -> None:
    """The architecture, regardless of the numbers in Keras's layer names in this process, and the weights in order."""
    try:
        config = json.dumps(model.get_config(), default=repr)
    except (NotImplementedError, TypeError, ValueError):
        config = ""
    if not type(model).__module__.startswith("keras."):
        config += _source(type(model))
    names = dict.fromkeys(layer.name for layer in model._flatten_layers())
    for number, name in enumerate(names):
        config = config.replace(json.dumps(name), f'"layer {number}"')
    digest.update(config.encode())
    for weight in model.weights:
        _add(digest, keras.ops.convert_to_numpy(weight))


def _add_function(digest: Any, value: Any) -> None:
    if isinstance(value, functools.partial):
        _add(digest, value.func, value.args, *(part for pair in sorted(value.keywords.items()) for part in pair))
        return
    if inspect.ismethod(value):
        _add(digest, value.__func__, value.__self__)
        return
    if inspect.isfunction(value):
        digest.update(f"{value.__qualname__}\0{_source(value)}".encode())
        # a function's own counters do not affect its predictions
        counted = {step.argval for step in dis.get_instructions(value) if step.opname == "STORE_DEREF"}
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if name not in counted:
                _add_part(digest, name, cell.cell_contents)
        _add(digest, value.__defaults__)
        return
    kind = value if inspect.isclass(value) or inspect.isbuiltin(value) else type(value)
    digest.update(f"{kind.__module__}.{kind.__qualname__}\0{_source(kind)}".encode())
    for name, part in sorted(vars(value).items() if hasattr(value, "__dict__") else ()):
        if isinstance(part, np.ndarray | keras.Model | LandmarkNet | TappedModel):
            _add_part(digest, name, part)


def _add_part(digest: Any, name: str, part: Any) -> None:
    digest.update(name.encode())
    if not isinstance(part, list):  # functions use lists to record their own calls
        _add(digest, part)


def _source(value: Any) -> str:
    """The source code of a function or class; the compiled code if there is no source file."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return repr(value) if code is None and not hasattr(value, "__qualname__") else _compiled(code)


def _compiled(code: Any) -> str:
    return "" if code is None else hashlib.sha256(marshal.dumps(code)).hexdigest()
