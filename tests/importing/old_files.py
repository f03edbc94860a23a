"""Files of Keras 2, changed in one place, and their import."""

import json
import shutil

import h5py

from kd_loss.cli import execute_command

SIZE = 64


def run_import(path, output, *more, dataset="w300", convention="kd-loss"):
    argv = [str(path), "--dataset", dataset, "--convention", convention, "--output", str(output), *more]
    return execute_command("import", argv, "kd-loss import")


def changed(old, tmp_path, change):
    path = tmp_path / "old.h5"
    shutil.copy(old / "student.h5", path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def rewrite(edit):
    """A change of the architecture: `edit` gets its layers by name."""

    def change(file):
        config = json.loads(file.attrs["model_config"])
        edit({layer["config"]["name"]: layer for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)

    return change
