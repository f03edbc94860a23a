"""Opens PyTorch networks as functions: TorchScript (`.pt`) and programs of `torch.export` (`.pt2`).

PyTorch interprets TorchScript, a language of its own; a `.pt` file that is a pickle (`torch.save`) is not TorchScript
and is rejected. A `.pt2` file may contain pickles, from which only tensors are read (`weights_only`). Both run on the
CPU, whatever device they were made on.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".pt", ".pt2")


def open_torch(path: Path) -> tuple[Callable[[np.ndarray], dict[str, np.ndarray]], list[Any]]:
    """Open a PyTorch file as a function of one batch; also returns its input shape, empty if the file has none.

    Returns:
        A function, batch float32 -> outputs by name: the keys of a dictionary, otherwise `output_0`, `output_1`, …;
        and the shape of the input, with None for dimensions of any size.
    """
    with warnings.catch_warnings():  # TorchScript is deprecated in favour of torch.export
        warnings.simplefilter("ignore")
        import torch

        if path.suffix == ".pt":
            module: Any = torch.jit.load(str(path), map_location="cpu").eval()
            shape: list[Any] = []
        else:
            with _tensors_alone():
                program = torch.export.load(str(path))
            [entry] = program.graph_signature.user_inputs
            [node] = [node for node in program.graph.nodes if node.name == entry]
            shape = [side if isinstance(side, int) else None for side in node.meta["val"].shape]
            module = program.module().to("cpu")
    fixed = shape[0] if shape else None

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            try:
                answer = module(torch.from_numpy(np.ascontiguousarray(batch, np.float32)))
            except Exception as error:  # pages of the interpreter's stack, then the reason
                raise RuntimeError(_reason(error)) from None
        return {name: value.detach().cpu().numpy() for name, value in _named(answer).items()}

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        if fixed is None:
            return call(batch)
        parts = []
        for start in range(0, len(batch), fixed):  # a program with a fixed batch size
            rows = batch[start : start + fixed]
            whole = np.concatenate([rows, np.zeros((fixed - len(rows), *rows.shape[1:]), rows.dtype)])
            parts.append({name: values[: len(rows)] for name, values in call(whole).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run, shape


@contextlib.contextmanager
def _tensors_alone() -> Iterator[None]:
    """Inside, PyTorch unpickles tensors only: no code from a file is run."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _named(answer: Any) -> dict[str, Any]:
    if isinstance(answer, Mapping):
        return {str(name): value for name, value in answer.items()}
    values = list(answer) if isinstance(answer, list | tuple) else [answer]
    return {f"output_{number}": value for number, value in enumerate(values)}


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
