"""Opens files of other runtimes: ONNX Runtime for `.onnx`, LiteRT for `.tflite`, PyTorch for `.pt` and `.pt2`.

An export of this package contains its card: in the metadata of an `.onnx` file, in a metadata buffer of a `.tflite`
file. Neither format can hold code: both runtimes run a fixed set of operations. `torch_files` opens PyTorch's files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.runtimes import torch_files
from kd_loss.system import sandbox
from kd_loss.system.bundled import came_along
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.terminal import quiet_stderr

#: a batch of inputs -> outputs by name
Run = Callable[[np.ndarray], dict[str, np.ndarray]]
#: the name of the card in a file's metadata
CARD = "kd_loss_card"
#: suffixes of exports
SUFFIXES = (".onnx", ".tflite")
#: suffix -> the optional package that opens it
_PACKAGES = {".onnx": "onnxruntime", **dict.fromkeys(torch_files.SUFFIXES, "torch")}


def open_runtime(path: Path, threads: int | None = None) -> Run:
    """Open a `.onnx`, `.tflite`, `.pt` or `.pt2` file as a function from one batch to outputs by name, real numbers.

    Args:
        path: the file.
        threads: number per call; None means ONNX Runtime's default and, for LiteRT, two, or one on a single core.
            PyTorch ignores it.

    Raises:
        UserError: the runtime is not installed, or cannot open the file.
    """
    package = _PACKAGES.get(path.suffix)
    if package and importlib.util.find_spec(package) is None:
        raise UserError(f"{path} needs the package {package}: pip install {package}")
    check_trial(path)
    try:
        return open_untried(path, threads)[0]
    except ImportError as error:
        raise UserError(f"{path} needs the package {error.name}: pip install {error.name}") from None
    except Exception as error:  # the runtimes raise errors of any type
        reason = first_line(error)
        raise UserError(f"{path} does not load: {reason}") from None


def open_untried(path: Path, threads: int | None) -> tuple[Run, list[Any]]:
    """Like `open_runtime`, without the trial; also returns the input shape, and raises the runtime's own errors."""
    if path.suffix in torch_files.SUFFIXES:
        return torch_files.open_torch(path)
    return _onnx(path, threads) if path.suffix == ".onnx" else _litert(path, threads)


def _onnx(path: Path, threads: int | None) -> tuple[Run, list[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    [entry] = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        values = session.run(names, {entry.name: np.ascontiguousarray(batch, np.float32)})
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    return run, list(entry.shape)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _interpreter(path: Path, threads: int | None) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            import tensorflow
        except ImportError:
            raise ImportError(name="ai-edge-litert") from None
        Interpreter = tensorflow.lite.Interpreter
    with quiet_stderr():  # XNNPACK prints a start-up message
        interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads or min(2, _cores()))
        interpreter.allocate_tensors()
    return interpreter


def _litert(path: Path, threads: int | None) -> tuple[Run, list[Any]]:
    interpreter = _interpreter(path, threads)
    [entry] = interpreter.get_input_details()
    details = interpreter.get_output_details()
    alone = threading.Lock()  # an interpreter holds one input at a time

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        rows: dict[str, list[np.ndarray]] = {detail["name"]: [] for detail in details}
        for image in batch:  # the batch size of a file is nearly always fixed at one
            with alone:
                interpreter.set_tensor(entry["index"], _quantise(image, entry)[None])
                interpreter.invoke()
                values = {
                    detail["name"]: _restore(interpreter.get_tensor(detail["index"]), detail) for detail in details
                }
            for name, value in values.items():
                rows[name].append(value if value.shape[:1] == (1,) else value[None])
        return {name: np.concatenate(values) for name, values in rows.items()}

    return run, [int(side) for side in entry["shape"]]


def _quantise(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    kind, (scale, zero) = detail["dtype"], detail["quantization"]
    if not np.issubdtype(kind, np.integer) or (scale == 1 and zero == 0 and values.dtype == kind):
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    scaled = values / scale + zero if scale else values
    return np.clip(np.round(scaled), limits.min, limits.max).astype(kind)


def _restore(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not np.issubdtype(values.dtype, np.integer) or not scale:
        return values
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)


def embed_card(path: Path, card: dict[str, Any]) -> None:
    """Write a card into the metadata of a `.onnx` or `.tflite` file, replacing any existing one."""
    text = json.dumps(card, ensure_ascii=False)
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(model, {CARD: text})
        onnx.save(model, path)
        return
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = CARD.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [m for m in model.metadata or [] if m.name != CARD.encode()] + [entry]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def embedded_card(path: Path) -> dict[str, Any] | None:
    """Return the card in the metadata of a `.onnx` or `.tflite` file, None if it has none.

    Raises:
        UserError: the metadata are not a JSON object, or the file does not load.
    """
    check_trial(path)
    try:
        text = _onnx_text(path) if path.suffix == ".onnx" else _litert_text(path)
    except ImportError as error:
        raise UserError(f"{path} needs the package {error.name}: pip install {error.name}") from None
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{path} does not load: {reason}") from None
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"the card inside {path} is not a JSON object")
    return values


def _onnx_text(path: Path) -> str | None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map.get(CARD)


def _litert_text(path: Path) -> str | None:
    # the interpreter validates the whole file before its metadata are read
    _interpreter(path, 1)
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == CARD.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    return None


def check_trial(path: Path, kind: str = "network") -> None:
    """See `kd_loss.system.sandbox.check_trial`; files shipped with this package are not tried.

    Args:
        path: the file.
        kind: `network`, or `yunet` for a model of OpenCV's face detector.
    """
    if not (path.is_file() and came_along(path)):
        sandbox.check_trial(path, __name__, kind)


def _try(kind: str, path: Path) -> None:
    """Open and run a file; the trial reports any exception."""
    import numpy as np

    if kind == "yunet":
        import cv2

        sandbox.limit_memory()
        try:
            cv2.FaceDetectorYN.create(str(path), "", (320, 320)).detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:  # the caller reports that it is another network, or none
            if sandbox.out_of_memory(error):
                raise
        return

    with contextlib.suppress(ImportError):  # before the limit, which excludes the library
        if path.suffix in torch_files.SUFFIXES:
            import torch  # noqa: F401
        else:
            import onnxruntime  # noqa: F401
    sandbox.limit_memory()
    run, shape = open_untried(path, 1)
    if not shape:  # TorchScript does not record it; the teacher checks that an image of the card's size passes
        return
    shape = [1, *(side if isinstance(side, int) and side > 0 else 64 for side in shape[1:])]
    for batch in (np.zeros(shape, np.float32), np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)):
        try:
            run(batch)
        except Exception as error:  # a wrong size is detected where the right one is known
            if sandbox.out_of_memory(error):
                raise


if __name__ == "__main__":
    sandbox.answer(lambda: _try(sys.argv[1], Path(sys.argv[2])))
