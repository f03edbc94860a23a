"""A trained finder as files that `detection.finder` opens without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.detection.finder_format import LEVELS
from kd_loss.system.files import atomic_file, write_json
from kd_loss.system.terminal import quiet_stderr
from kd_loss.system.versions import package_versions
from tools.finder.network import build_finder


def write_finder(model: keras.Model, size: int, path: Path, training: dict[str, Any]) -> None:
    """Write `path.h5`, `path.tflite` and `path.onnx`, for images of `size` pixels, and the card `path.json`.

    Args:
        model: of `build_finder`, for any size; it is the same network at every one.
        training: what the card says about the training.
    """
    sized = build_finder(size)
    sized.set_weights(model.get_weights())
    sized(np.zeros((1, size, size, 3), np.float32))  # Keras wants a network called once before it writes .onnx
    for suffix, form in ((".h5", ""), (".tflite", "litert"), (".onnx", "onnx")):
        with atomic_file(path.with_suffix(suffix), suffix) as temporary, quiet_stderr():
            if form:
                sized.export(str(temporary), format=form, verbose=False)
            else:
                sized.save(temporary)
    card = {
        "kind": "finder",
        "size": size,
        "strides": [level.stride for level in LEVELS],
        "parameters": sized.count_params(),
        "inputs": "RGB, 0…255, (1, size, size, 3), the image in the upper left corner, black beyond it",
        "outputs": "a map of 14 numbers a cell for each stride, see kd_loss/detection/finder_format.py",
        "boxes": "landmark box of the 68 landmarks of 300W",
        "min_scores": [0.5] * len(LEVELS),
        "training": training,
        "versions": package_versions(),
    }
    write_json(path.with_suffix(".json"), card)
