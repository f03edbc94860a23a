"""User-defined methods, heads and architectures: Python files that register them on import."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kd_loss.system.errors import UserError, first_line

#: ending of messages about an unknown name
OF_YOUR_OWN = "; one of your own is known by --plugin FILE"


def load_plugins(files: Iterable[str]) -> None:
    """Import Python files that register methods, heads or architectures; none is imported twice.

    Raises:
        UserError: a file is missing, fails to import, or registers nothing.
    """
    if not (files := list(files)):
        return  # avoids importing Keras when nothing needs it
    for text in files:
        path = Path(text).resolve()
        name = f"kd_loss_plugin_{path.stem}"
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
            continue
        spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
        if spec is None or spec.loader is None:
            raise UserError(f"--plugin {text}: no such Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        known = _registered()
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, UserError | KeyboardInterrupt):
                raise
            raise UserError(f"--plugin {text} does not import: {type(error).__name__}: {first_line(error)}") from None
        if known == _registered():
            del sys.modules[name]
            raise UserError(
                f'--plugin {text} registers no method: does it have a class with @register("name"), or a function with '
                '@register_head("name") or @register_architecture("name")?'
            )


def _registered() -> tuple[dict[str, Any], ...]:
    from kd_loss.distillation.base import METHODS
    from kd_loss.networks import ARCHITECTURES, HEADS

    return {**METHODS}, {**ARCHITECTURES}, {**HEADS}
