"""`--log-to`: wandb and MLflow get the epochs of a run; here modules of the same interface stand for them."""

import dataclasses
import json
import sys
import types

import pytest

from kd_loss.system.errors import UserError
from kd_loss.training.options import StudentOptions
from kd_loss.training.train_student import train_student


@pytest.fixture
def fakes(monkeypatch):
    """Modules `wandb` and `mlflow` that keep what they are told."""
    told = {"wandb": [], "mlflow": []}

    class Run:
        def log(self, values, step):
            told["wandb"].append((step, values))

        def finish(self):
            told["wandb"].append("finished")

    def init(**settings):
        told["wandb"].append(settings)
        return Run()

    mlflow = types.ModuleType("mlflow")
    mlflow.set_experiment = lambda name: told["mlflow"].append(name)
    mlflow.log_params = lambda values: told["mlflow"].append(values)
    mlflow.log_metrics = lambda values, step: told["mlflow"].append((step, values))
    mlflow.end_run = lambda: told["mlflow"].append("finished")

    def start_run(**which):
        told["mlflow"].append(which)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

    mlflow.start_run = start_run
    wandb = types.ModuleType("wandb")
    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return told


@pytest.fixture
def options(data_folder, tmp_path):
    return StudentOptions(
        dataset="synthetic", data=data_folder, runs=tmp_path, arch="tiny", alpha=0.5, size=32, head="pooled",
        method=["none"], epochs=1, batch_size=20, validation=0.2, name="logged",
    )  # fmt: skip


def test_both_trackers_get_settings_epochs_and_the_end(options, fakes):
    folder = train_student(dataclasses.replace(options, log_to=["wandb", "mlflow"]))
    begun, (step, values), end = fakes["wandb"]
    assert (begun["project"], begun["name"], begun["dir"]) == ("kd-loss", "logged", str(folder))
    assert begun["config"]["method"] == ["none"]
    assert begun["config"]["decided_by"]["seed"] == 0
    assert (step, end) == (1, "finished")
    assert {"loss", "nme", "val_nme", "learning_rate"} <= values.keys()
    experiment, started, settings, (step, again), end = fakes["mlflow"]
    assert (experiment, started, step, end) == ("kd-loss", {"run_name": "logged"}, 1, "finished")
    assert settings["epochs"] == "1"
    assert again == values
    assert (folder / "mlflow-run.txt").read_text() == "r1\n"
    assert (folder / "wandb-run.txt").read_text().strip() == begun["id"]
    # a tracker decides nothing: the run is the same with and without
    assert json.loads((folder / "config.json").read_text())["log_to"] == ["wandb", "mlflow"]
    train_student(dataclasses.replace(options, resume=True))


@pytest.mark.usefixtures("fakes")
def test_one_line_without_the_package_and_where_it_fails(options, monkeypatch):
    def broken(**_):
        raise RuntimeError("api key not configured\nmore lines")

    monkeypatch.setattr(sys.modules["wandb"], "init", broken)
    with pytest.raises(UserError) as caught:
        train_student(dataclasses.replace(options, log_to=["wandb"]))
    assert str(caught.value) == "--log-to wandb: api key not configured; --resume goes on without it"
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "wandb")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(
        UserError, match=r"^--log-to wandb: that package is not installed: pip install 'kd-loss\[wandb\]'"
    ):
        dataclasses.replace(options, log_to=["wandb"]).check()
