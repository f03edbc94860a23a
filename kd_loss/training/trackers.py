"""Experiment trackers by `--log-to`: the history of a run, epoch by epoch, in Weights & Biases or MLflow."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kd_loss.system.errors import UserError, first_line
from kd_loss.system.trackers import PROJECT, check_trackers


def trackers(names: Sequence[str], folder: Path, settings: Mapping[str, Any]) -> list[keras.callbacks.Callback]:
    """The callbacks of `--log-to`.

    Args:
        names: of `system.trackers.TRACKERS`.
        folder: run folder; its name is the run's, and a resumed run goes on under it.
        settings: the run's configuration.

    Raises:
        UserError: a package is not installed.
    """
    check_trackers(names)
    return [{"wandb": _WandB, "mlflow": _MLflow}[name](folder, settings) for name in names]


class _Tracker(keras.callbacks.Callback):
    """Opens a run when the training begins, and closes it however the training ends."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        super().__init__()
        self.folder, self.settings = folder, dict(settings)

    def on_train_begin(self, logs: Any = None) -> None:
        self._told(self.begin)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._told(self.log, epoch + 1, values)

    def on_train_end(self, logs: Any = None) -> None:
        self._told(self.end)

    def _told(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:  # no network, no account, a full disk …
            name = type(self).__name__.strip("_").lower()
            raise UserError(f"--log-to {name}: {first_line(error)}; --resume goes on without it") from error

    def begin(self) -> None:
        raise NotImplementedError

    def log(self, epoch: int, values: dict[str, float]) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class _WandB(_Tracker):
    def begin(self) -> None:
        wandb = importlib.import_module("wandb")
        self._run = wandb.init(
            project=PROJECT, name=self.folder.name, dir=str(self.folder), config=self.settings, resume="allow",
            id=_identity(self.folder),
        )  # fmt: skip

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self._run.log(values, step=epoch)

    def end(self) -> None:
        self._run.finish()


class _MLflow(_Tracker):
    def begin(self) -> None:
        self._mlflow = importlib.import_module("mlflow")
        self._mlflow.set_experiment(PROJECT)
        kept = self.folder / "mlflow-run.txt"
        if kept.is_file():
            self._mlflow.start_run(run_id=kept.read_text(encoding="utf-8").strip())
            return
        run = self._mlflow.start_run(run_name=self.folder.name)
        kept.write_text(f"{run.info.run_id}\n", encoding="utf-8")
        self._mlflow.log_params({key: str(value)[:500] for key, value in self.settings.items()})

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self._mlflow.log_metrics(values, step=epoch)

    def end(self) -> None:
        self._mlflow.end_run()


def _identity(folder: Path) -> str:
    """A run's id, kept in its folder, so that a resumed run goes on in the same curves."""
    kept = folder / "wandb-run.txt"
    if not kept.is_file():
        import secrets

        kept.write_text(f"{secrets.token_hex(8)}\n", encoding="utf-8")
    return kept.read_text(encoding="utf-8").strip()
