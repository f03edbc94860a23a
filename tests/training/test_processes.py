"""Several processes on the loopback, JAX backend; and the options that lead there."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks import load_network
from kd_loss.runs.history import read_history
from kd_loss.system.errors import UserError
from kd_loss.training.options import TrainingOptions, checked
from kd_loss.training.processes import Processes, join

pytest.importorskip("jax")

ROOT = Path(__file__).parents[2]

#: trains a student and prints a checksum of its weights after every epoch
JOB = """
    import hashlib, sys
    import keras, numpy as np
    import tests.tiny
    from kd_loss.cli import execute_command
    from kd_loss.training.callbacks import EpochCounter

    def checksum(self, epoch, logs=None):
        arrays = [np.asarray(keras.ops.convert_to_numpy(v.value)) for v in self.model.student.variables]
        print("weights", epoch, hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest(), flush=True)

    EpochCounter.on_epoch_end = checksum
    execute_command("train-student", sys.argv[1:], "train")
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(data, runs, name, count, *more, epochs=3):
    """The processes of one training; `count` 0: without --distributed."""
    command = [
        *(sys.executable, "-c", textwrap.dedent(JOB), "--dataset", "synthetic", "--method", "none"),
        *("--arch", "tiny", "--size", "48", "--batch-size", "32", "--validation", "0.2", "--epochs", str(epochs)),
        *("--data", str(data), "--runs", str(runs), "--name", name, *more),
    ]
    place, environment = f"127.0.0.1:{free_port()}", {**os.environ, "KERAS_BACKEND": "jax"}
    return [
        subprocess.Popen(
            [*command, *(["--distributed", place, "--processes", str(count), "--process", str(i)] if count else [])],
            env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(max(1, count))
    ]  # fmt: skip


def finish(processes):
    outputs = [process.communicate(timeout=400) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return [re.findall(r"weights (\d+) (\w+)", output) for output, _ in outputs]


@pytest.fixture(scope="module")
def alone(data_folder, tmp_path_factory):
    """The history of the same training in one process."""
    runs = tmp_path_factory.mktemp("alone")
    finish(start(data_folder, runs, "one", 0))
    return read_history(runs / "synthetic" / "one" / "history.csv")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_are_one(data_folder, tmp_path, alone, count):
    first, *others = finish(start(data_folder, tmp_path, "several", count))
    assert len(first) == 3
    assert len(others) == count - 1
    assert all(other == first for other in others), "the weights differ between the processes"
    run = tmp_path / "synthetic" / "several"
    # rounding grows from step to step, Adam divides small gradients by their size
    for a, b, tolerance in zip(alone, read_history(run / "history.csv"), (1e-5, 1e-3, 5e-2), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=tolerance)
        assert a["val_nme"] == pytest.approx(b["val_nme"], rel=tolerance)
    assert load_network(run / "best.h5").model.output_shape == (None, 68, 2)


@pytest.mark.slow
def test_the_others_survive_a_death(data_folder, tmp_path):
    processes = start(data_folder, tmp_path, "killed", 2, epochs=200)
    state = tmp_path / "synthetic" / "killed" / "state.npz"
    deadline = time.time() + 300
    while not state.is_file() and time.time() < deadline and processes[0].poll() is None:
        time.sleep(0.05)
    assert state.is_file()
    os.kill(processes[1].pid, signal.SIGKILL)
    try:
        processes[0].communicate(timeout=60)  # raises where it waits for the dead one
    finally:
        processes[0].kill()
    assert processes[0].returncode != 0
    # it goes on alone
    done = len(read_history(state.with_name("history.csv")))
    config = state.with_name("config.json")
    config.write_text(config.read_text().replace('"epochs": 200', f'"epochs": {done + 1}'))
    finish(start(data_folder, tmp_path, "killed", 0, "--resume", epochs=done + 1))
    assert len(read_history(state.with_name("history.csv"))) == done + 1


def test_shards_are_the_whole_batch(synthetic):
    def make(shard):
        split = synthetic.split("train")
        view, options = CropTransform(32, Augmentation()), {"batch_size": 8, "shard": shard}
        first, last = (FaceSampler(split, part, shuffled=True) for part in (np.arange(30), np.arange(30, 40)))
        annotated = FaceLoader(first, view, **options)
        return annotated, MixedLoader(annotated, FaceLoader(last, view, **options), 0.75, seed=1)

    (whole, mixed), *parts = (make(shard) for shard in ((0, 1), (0, 2), (1, 2)))
    for shard, (part, mixed_part) in enumerate(parts):
        np.testing.assert_array_equal(whole[1][0][shard::2], part[1][0])
        np.testing.assert_array_equal(whole[1][1]["landmarks"][shard::2], part[1][1]["landmarks"])
        rows = [kind * 8 + row for kind in range(3) for row in range(shard, 8, 2)]
        np.testing.assert_array_equal(mixed[2][0][rows], mixed_part[2][0])
        np.testing.assert_array_equal(mixed[2][1]["landmarks"][rows], mixed_part[2][1]["landmarks"])


def test_shards_of_an_evaluation_are_equally_long(synthetic):
    split = synthetic.split("train")
    parts = [
        FaceLoader(FaceSampler(split, np.arange(11)), CropTransform(32), batch_size=8, shard=(i, 2)) for i in range(2)
    ]
    kinds = [np.concatenate([part[b][1]["kind"] for b in range(len(part))]) for part in parts]
    assert [len(k) for k in kinds] == [8, 8]
    assert sum((k == 0).sum() for k in kinds) == 11
    assert {float(v) for k in kinds for v in k} == {0.0, 3.0}


def test_options_that_cannot_be(monkeypatch):
    assert join(TrainingOptions()) == Processes()
    if keras.backend.backend() != "jax":
        with pytest.raises(UserError, match="set KERAS_BACKEND=jax"):
            join(TrainingOptions(devices="all"))
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for changes, message in (
        ({"distributed": "somewhere"}, "is not host:port"),
        ({"distributed": "a:1", "processes": 2, "process": 2}, r"--process 2 is not in 0…1"),
    ):
        with pytest.raises(UserError, match=message):
            join(dataclasses.replace(TrainingOptions(), **changes))
    with pytest.raises(UserError, match="unknown devices 'some'"):
        checked(TrainingOptions(devices="some"))
    with pytest.raises(UserError, match="--batch-size 9 is not a multiple of the 2 devices"):
        Processes(0, 2, 2).check_batch(9)
