"""The experiment trackers that `--log-to` knows; their packages are extras."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from kd_loss.system.errors import UserError

TRACKERS = ("wandb", "mlflow")
#: the project, or experiment, in which runs are kept there
PROJECT = "kd-loss"


def check_trackers(names: Sequence[str]) -> None:
    """Raises a `UserError` for a tracker whose package is not installed."""
    for name in names:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            raise UserError(f"--log-to {name}: that package is not installed: pip install 'kd-loss[{name}]'")
