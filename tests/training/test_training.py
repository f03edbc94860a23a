"""Training end to end on a tiny network, and resuming it bit for bit."""

import dataclasses
import json
import logging
import os
import signal
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
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.seen_faces import TRAINED_ON
from kd_loss.datasets.transform import CropTransform
from kd_loss.distillation import get_method
from kd_loss.networks import Card, build_network, load_network
from kd_loss.runs.history import read_history
from kd_loss.schemes.benchmarks import COFW
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in
from kd_loss.training.callbacks import EpochCounter
from kd_loss.training.distiller import Distiller
from kd_loss.training.faces import augmentation_of
from kd_loss.training.fit import learning_rate
from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.teachers.teacher import LiveTeacher
from kd_loss.training.train_student import train_student
from kd_loss.training.train_teachers import train_teachers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    """A tiny student on 32-pixel faces; teachers of the same kind in the same runs."""
    runs = tmp_path_factory.mktemp("runs")
    common = {
        "dataset": "synthetic", "arch": "tiny", "batch_size": 8, "alpha": 0.5, "data": data_folder, "runs": runs,
        "head": "pooled",
    }  # fmt: skip
    train_teachers(TeacherOptions(epochs=1, size=48, **common))
    return StudentOptions(epochs=2, size=32, validation=0.2, **common)


def weights(folder):
    return load_network(folder / "last.h5").model.get_weights()


def test_teachers_are_found_and_every_term_is_logged(options, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    folder = train_student(options)
    assert "objective: 2.5·main + 1·tough + 1·tolerant" in caplog.messages
    history = read_history(folder / "history.csv")
    assert [row["epoch"] for row in history] == [1, 2]
    assert {"loss", "main", "tough", "tolerant", "nme", "val_nme"} <= history[0].keys()
    row = history[0]
    assert row["loss"] == pytest.approx(2.5 * row["main"] + row["tough"] + row["tolerant"], rel=1e-4)
    assert {p.name for p in folder.iterdir()} >= {
        *("best.h5", "best.json", "last.h5", "config.json", "state.npz", TRAINED_ON),
    }
    again = dataclasses.replace(options, name=folder.name, resume=True)
    with alone_in(folder), pytest.raises(UserError, match=f"another kd-loss process is writing {folder}"):
        train_student(again)


def test_only_the_student_is_saved_and_the_teachers_stay_as_they_are(options):
    before = [load_network(p).model.get_weights() for p in sorted(options.runs.glob("*/teacher-*/best.h5"))]
    folder = train_student(dataclasses.replace(options, epochs=1))
    after = [load_network(p).model.get_weights() for p in sorted(options.runs.glob("*/teacher-*/best.h5"))]
    for a, b in zip(before, after, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    teacher = load_network(options.runs / "synthetic" / "teacher-tough" / "best.h5")  # of the same kind
    assert load_network(folder / "best.h5").model.count_params() == teacher.model.count_params()


def test_the_same_seed_gives_the_same_student(options):
    alone = dataclasses.replace(options, method=["none"], epochs=1)
    a, b = (train_student(alone) for _ in "ab")
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_interrupted_and_resumed_run_has_the_same_weights(options, monkeypatch):
    """In one process; of a killed one below."""
    mine = dataclasses.replace(options, method=["none"], dropout=0.3, epochs=3)
    whole = train_student(dataclasses.replace(mine, name="whole"))
    begin = EpochCounter.on_epoch_begin

    def stop(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(EpochCounter, "on_epoch_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            train_student(dataclasses.replace(mine, name="part"))
    part = train_student(dataclasses.replace(mine, name="part", resume=True))
    assert [row["epoch"] for row in read_history(part / "history.csv")] == [1, 2, 3]
    for x, y in zip(weights(whole), weights(part), strict=True):
        np.testing.assert_array_equal(x, y)


def command(options, name, *more):
    return [
        *(
            sys.executable,
            "-m",
            "tests.tiny",
            "train-student",
            "--arch",
            "tiny",
            "--dataset",
            "synthetic",
            "--epochs",
            "8",
        ),
        *("--batch-size", "8", "--alpha", "0.5", "--size", "32", "--validation", "0.2", "--dropout", "0.3"),
        *("--data", str(options.data), "--runs", str(options.runs), "--name", name, *more),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_killed_and_resumed_run_is_the_same_bit_for_bit(options, backend):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    names = whole, killed = [options.runs / "synthetic" / f"{name}-{backend}" for name in ("whole", "killed")]
    subprocess.run(command(options, whole.name), check=True, capture_output=True, env=environment, cwd=ROOT)
    process = subprocess.Popen(
        command(options, killed.name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT
    )
    deadline = time.time() + 300
    while not (killed / "state.npz").is_file() and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (killed / "state.npz").is_file()
    assert not (killed / "finished.json").is_file(), "the run was over before it could be killed"
    subprocess.run(
        command(options, killed.name, "--resume"), check=True, capture_output=True, env=environment, cwd=ROOT
    )
    for x, y in zip(weights(whole), weights(killed), strict=True):
        np.testing.assert_array_equal(x, y)
    a, b = (read_history(folder / "history.csv") for folder in names)
    for x, y in zip(a, b, strict=True):
        assert {k: v for k, v in x.items() if k != "seconds"} == {k: v for k, v in y.items() if k != "seconds"}


#: from the second epoch on no file may grow beyond some bytes, as on a full disk
FULL_DISK = """
    import resource, sys
    import tests.tiny
    from kd_loss.cli import main
    from kd_loss.training.callbacks import EpochCounter

    begin = EpochCounter.on_epoch_begin

    def fill(self, epoch, logs=None):
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        begin(self, epoch, logs)

    EpochCounter.on_epoch_begin = fill
    main()
"""


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_with_one_line_and_leaves_the_last_epoch(data_folder, tmp_path):
    pytest.importorskip("resource")
    arguments = [
        *(
            "train-student",
            "--quiet",
            "--dataset",
            "synthetic",
            "--method",
            "none",
            "--epochs",
            "3",
            "--batch-size",
            "8",
        ),
        *("--arch", "tiny", "--size", "32", "--validation", "0", "--data", str(data_folder), "--runs", str(tmp_path)),
    ]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2, done.stderr[-2000:]
    run = tmp_path / "synthetic" / "student-none"
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("I0", "W0", "WARNING"))]
    assert len(lines) == 1, done.stderr[-2000:]
    assert lines[0].startswith(f"error: cannot write {run}")
    assert not [path.name for path in run.iterdir() if path.name.startswith(".tmp-")]
    assert len(read_history(run / "history.csv")) == 1
    load_network(run / "best.h5")
    subprocess.run(
        [sys.executable, "-m", "tests.tiny", *arguments, "--resume"], check=True, capture_output=True, cwd=ROOT
    )
    assert [row["epoch"] for row in read_history(run / "history.csv")] == [1, 2, 3]


def test_a_run_that_cannot_be_written_stops_with_one_line(options, tmp_path):
    place = tmp_path / "runs"
    place.write_text("a file where the folder should be")
    with pytest.raises(UserError, match=f"cannot write {place}"):
        train_student(dataclasses.replace(options, method=["none"], runs=place))
    assert place.read_text() == "a file where the folder should be"


def test_learning_rate_warms_up_and_falls_to_a_hundredth():
    rate = learning_rate(1e-3, 1000)
    values = [float(rate(step)) for step in (0, 50, 525, 1000)]
    assert values == pytest.approx([1e-5, 1e-3, (1 + 0.01) / 2 * 1e-3, 1e-5], rel=0.02)


def test_a_distiller_without_its_teacher_or_with_one_of_another_scheme_is_refused(synthetic):
    card = Card("tiny", 0.5, "synthetic", synthetic.scheme.to_dict(), 32, "student", 0.15)
    student = build_network(card)
    with pytest.raises(UserError, match="the method kd_loss needs a tough teacher"):
        Distiller(student=student, methods={get_method("kd_loss"): 1.0}, scheme=synthetic.scheme)
    other = build_network(dataclasses.replace(card, spec=COFW.to_dict()))
    with pytest.raises(UserError, match="the tough teacher predicts 29 points, the student 68 landmarks"):
        Distiller(
            student=student,
            methods={get_method("kd_loss"): 1.0},
            teachers={"tough": LiveTeacher(other), "tolerant": LiveTeacher(other)},
            scheme=synthetic.scheme,
        )


def test_teachers_are_not_part_of_the_distiller(synthetic):
    card = Card("tiny", 0.5, "synthetic", synthetic.scheme.to_dict(), 32, "student", 0.15)
    student, teacher = build_network(card), build_network(dataclasses.replace(card, size=48), seed=1)
    teachers = {role: LiveTeacher(teacher) for role in ("tough", "tolerant")}
    distiller = Distiller(
        student=student, methods={get_method("kd_loss"): 1.0}, teachers=teachers, scheme=synthetic.scheme
    )
    assert len(distiller.weights) == len(student.model.weights)
    split = synthetic.split("train")
    loader = FaceLoader(FaceSampler(split, range(8), shuffled=True), CropTransform(32, Augmentation()), batch_size=8)
    images, targets = loader[0]
    values = distiller.compute_loss(images, targets, distiller(images), training=True)
    assert np.isfinite(float(values))
    distiller.reset_metrics()
    evaluated = distiller.compute_loss(images, targets, distiller(images), training=False)
    taps = keras.ops.convert_to_numpy(distiller(images)["landmarks"])
    assert float(evaluated) == pytest.approx(np.abs(taps - targets["landmarks"]).mean(), rel=1e-5)
    # the metric agrees with the NumPy one
    from kd_loss.evaluation.metrics import normalising_distance, point_errors

    distance = normalising_distance(targets["landmarks"], synthetic.scheme, "inter_ocular")
    expected = point_errors(taps, targets["landmarks"], distance).mean()
    assert float(distiller.trackers["nme"].result()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "--epochs 0 is out of range"),
        ({"arch": "mobilenetV3"}, "did you mean 'mobileNetV2'"),
        ({"method": ["kdloss"]}, "did you mean 'kd_loss'"),
        ({"dataset": "sinthetic"}, "did you mean 'synthetic'"),
        ({"tough": "nowhere.h5"}, "no such weights: nowhere.h5"),
        ({"size": 8}, "--size 8"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"init": "nowhere.h5"}, "no such weights"),
    ],
)
def test_bad_options_are_one_line_before_anything_is_written(options, changes, message):
    before = sorted(options.runs.glob("*/*"))
    with pytest.raises(UserError, match=message):
        train_student(dataclasses.replace(options, **changes))
    assert sorted(options.runs.glob("*/*")) == before


def test_the_teachers_are_part_of_the_record(options):
    folder = train_student(dataclasses.replace(options, epochs=1))
    card = load_network(folder / "best.h5").card
    assert card.training["method"] == "kd_loss"
    assert set(card.training["teachers"]) == {"tough", "tolerant"}
    assert len(card.training["teachers"]["tough"]["sha256"]) == 64
    other = next(options.runs.glob("*/teacher-tolerant/best.h5"))
    changed = dataclasses.replace(options, epochs=1, tough=str(other), name=folder.name, resume=True)
    with pytest.raises(UserError, match="cannot resume"):
        train_student(changed)


def test_both_teachers_stopped_during_the_first_are_resumed(data_folder, tmp_path):
    options = TeacherOptions(
        dataset="synthetic", arch="tiny", epochs=1, batch_size=8, alpha=0.5, size=32, data=data_folder,
        runs=tmp_path,
    )  # fmt: skip
    [tough] = train_teachers(dataclasses.replace(options, role="tough"))
    config = json.loads((tough / "config.json").read_text())
    for old, new in {"cut": "output_stride", "augment": "augment_strength", "teacher": "role"}.items():
        config[old] = config.pop(new) if old != "teacher" else config[new]
    (tough / "config.json").write_text(json.dumps(config))  # as version 0.1 wrote it
    folders = train_teachers(dataclasses.replace(options, resume=True))
    assert [f.name for f in folders] == ["teacher-tough", "teacher-tolerant"]


def test_mirroring_alone_can_be_switched_off():
    usual, straight = (augmentation_of(StudentOptions(mirror=mirror)) for mirror in (True, False))
    assert (usual.flip, straight.flip) == (0.5, 0.0)
    assert dataclasses.replace(usual, flip=0.0) == straight
