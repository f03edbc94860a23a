"""The commands as a user types them: exit codes, one line of error, nothing half-written."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kd_loss.cli import check_backend, execute
from kd_loss.system.errors import UserError
from tests.archives.archives import write_w300
from tests.lazy import run_without_keras

ROOT = Path(__file__).parents[1]


def run(*argv, cwd, script=None):
    command = [sys.executable, str(ROOT / script)] if script else [sys.executable, "-m", "kd_loss"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *argv], cwd=cwd, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("argv", "script", "message"),
    [
        (["prepare", "--dataset", "w300", "--source", "nowhere"], None, "no such folder: nowhere"),
        ([], "train_student.py", "run: kd-loss prepare --dataset w300"),
        (["--dataset", "w300"], "train_teacher.py", "run: kd-loss prepare --dataset w300"),
        (["--dataset", "w300"], "test.py", "give --weights"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, argv, script, message):
    done = run(*argv, cwd=tmp_path, script=script)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["prepare", "--dataset", "w300"], "--source FOLDER"),
        (["prepare", "--dataset", "w30", "--source", "."], "did you mean 'w300'"),
        (["prepare", "--source", "."], "give --dataset"),
        (["prepare", "--dataset", "synthetic", "--seed", "-1"], "--seed -1"),
        (["prepare", "--dataset", "synthetic", "--margin", "nan"], "--margin nan"),
        (["prepair"], "did you mean 'prepare'"),
        (["prepare", "--sorce", "."], "did you mean --source"),
        (["train-student", "--arch", "mobileNetV2"], "run: kd-loss prepare --dataset w300"),
        (["Train_Student"], "the dataset 'w300' is not prepared"),
        (["predict", "x.jpg"], "no such image or video: x.jpg"),
        (["predict"], "give an image"),
        (["predict", "--weights", "w.h5", str(ROOT / "docs" / "pictures" / "demo.png")], "no such weights: w.h5"),
        (["export"], "give the weights"),
        (["benchmark"], "give networks"),
        (["import"], "give the old file"),
        (["import", "x.h5", "--dataset", "w300", "--convention", "kd-loss"], "no such file: x.h5"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, argv, message):
    """The error that the command turns into one line, without a process for each."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        execute(argv, "kd-loss")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_help_and_prepare_do_not_import_tensorflow(tmp_path):
    printed = run_without_keras([[], ["prepare", "--dataset", "synthetic", "--count", "8", "--size", "32"]], tmp_path)
    assert "8 train, 2 test faces of 32 px" in printed


def test_prepare_from_an_archive_and_from_npy_files(tmp_path):
    write_w300(tmp_path / "300W", {"afw": 4, "ibug": 1})
    done = run("prepare", "--dataset", "w300", "--source", "300W", "--size", "32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 train, 1 test faces of 32 px, 68 landmarks" in done.stdout
    assert "not the official release" in done.stderr
    folder = tmp_path / "300W" / "afw"
    for pts in folder.glob("*.pts"):
        np.save(pts.with_suffix(".npy"), np.loadtxt(pts, skiprows=3, max_rows=68) - 1)
        pts.unlink()
    done = run("prepare", "--dataset", "w300", "--source", "300W/afw", "--size", "32", "--data", "d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    a, b = (np.load(tmp_path / d / "w300" / "train" / "landmarks.npy") for d in ("data", "d"))
    np.testing.assert_allclose(b[0], a[[0, 1, 2, 3]][np.abs(a - b[0]).max(axis=(1, 2)) < 1e-5][0], atol=1e-5)


def test_prepare_own_scheme(tmp_path):
    scheme = {"name": "x", "points": 68, "pairs": [[36, 45]], "normalisers": {"eyes": [[36], [45]]}}
    (tmp_path / "mine.json").write_text(json.dumps(scheme))
    write_w300(tmp_path / "src", {"afw": 8})
    argv = ["prepare", "--dataset", "mine", "--scheme", "mine.json", "--source", "src/afw", "--size", "32"]
    done = run(*argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "data" / "mine" / "manifest.json").read_text())
    assert manifest["spec"]["name"] == "mine"
    assert manifest["spec"]["normalisers"] == {"eyes": [[36], [45]]}


def test_a_demo_does_not_clear_a_folder_of_something_else(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    done = run("demo", "--output", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine has other contents than a demo" in done.stderr
    assert (tmp_path / "mine" / "precious").read_text() == "x"


def test_a_benchmark_is_not_overwritten_by_another_scheme(tmp_path):
    (tmp_path / "s.json").write_text('{"name": "w300", "points": 5}')
    done = run("prepare", "--scheme", "s.json", "--source", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "'w300' is a benchmark" in done.stderr


def test_preparing_does_not_replace_its_source_or_something_else(tmp_path):
    write_w300(tmp_path / "data" / "w300", {"afw": 2})
    done = run("prepare", "--dataset", "w300", "--source", "data/w300", "--size", "32", cwd=tmp_path)
    assert done.returncode == 2
    assert "lies in data/w300, which preparing replaces" in done.stderr
    write_w300(tmp_path / "300W", {"afw": 2})
    done = run("prepare", "--dataset", "w300", "--source", "300W", "--size", "32", cwd=tmp_path)
    assert "data/w300 already exists, and kd-loss did not write it" in done.stderr
    assert len(list((tmp_path / "data" / "w300" / "afw").iterdir())) == 4


def test_older_names_of_commands_and_options(tmp_path):
    done = run("curves", "--output", "a.png", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "a.png\n"), done.stderr
    from kd_loss.system.configuration import from_keywords, parse
    from kd_loss.training.options import TeacherOptions

    for argv in (["--role", "tough"], ["--teacher", "tough"]):
        assert parse(TeacherOptions, argv).role == "tough"
    for name in ("role", "teacher"):
        assert from_keywords(TeacherOptions, {name: "tough"}, "train_teacher").role == "tough"


def test_an_older_name_of_an_option_warns_in_one_line(tmp_path):
    done = run("prepare", "--dataset", "synthetic", "--count", "4", "--size", "16", "--room", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "warning: --room is now --border; the old name will be removed in 0.3"
    assert done.stderr.count("warning:") == 1


@pytest.mark.parametrize(
    ("backend", "command", "message"),
    [
        ("nothing", "train-student", "KERAS_BACKEND=nothing: Keras supports tensorflow, jax, torch"),
        ("openvino", "predict", "KERAS_BACKEND=openvino: that package is not installed: pip install openvino"),
        ("numpy", "train-teacher", "KERAS_BACKEND=numpy cannot train: set it to tensorflow or jax"),
        ("numpy", "predict", ""),
    ],
)
def test_a_backend_that_cannot_is_one_line(monkeypatch, backend, command, message):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else found(name))
    if not message:
        check_backend(command)
        return
    with pytest.raises(UserError, match=message):
        check_backend(command)
