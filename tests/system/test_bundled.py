import shutil
from pathlib import Path

from kd_loss.runtimes import files as trial
from kd_loss.system import sandbox
from kd_loss.system.bundled import PACKAGE, SUMS, _sums, came_along, weights_path
from kd_loss.system.files import read_json, sha256

MODELS = PACKAGE.parent / "models"


def test_the_list_is_of_the_files_that_are_there():
    """After a network is exported anew: `sha256sum`, and its line in models/sums.json."""
    files = [path for path in MODELS.rglob("*") if path.suffix in (".tflite", ".onnx")]
    assert read_json(MODELS / SUMS, "") == {path.relative_to(MODELS).as_posix(): sha256(path) for path in files}


def test_what_came_along_is_not_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(sandbox, "_trial", lambda *arguments: tried.append(arguments))
    trial.check_trial(MODELS / "detectors" / "finder.tflite")
    assert not tried


def test_copies_and_changed_files_are_tried(tmp_path, monkeypatch):
    """Neither a file elsewhere, nor one of that name and place with other bytes."""
    copy = tmp_path / "finder.tflite"
    shutil.copy(MODELS / "detectors" / "finder.tflite", copy)
    assert came_along(MODELS / "detectors" / "finder.tflite")
    assert not came_along(copy)
    monkeypatch.setattr("kd_loss.system.bundled.PACKAGE", tmp_path / "kd_loss")
    place = tmp_path / "models" / "detectors" / "finder.tflite"
    place.parent.mkdir(parents=True)
    shutil.copy(MODELS / SUMS, tmp_path / "models")
    shutil.copy(copy, place)
    assert came_along(place)
    place.write_bytes(place.read_bytes() + b"\0")
    assert not came_along(place)
    shutil.copy(copy, place)
    (tmp_path / "models" / SUMS).unlink()
    _sums.cache_clear()
    assert not came_along(place)
    _sums.cache_clear()


def test_a_shipped_student_has_a_name(tmp_path, monkeypatch):
    tiny = weights_path("student_w300_tiny")
    assert (tiny.name, tiny.parent.name, tiny.is_file()) == ("student_w300_tiny.h5", "students", True)
    for other in ("student_w301", "folder/student_w300_tiny", "student_w300_tiny.h5", "best.h5"):
        assert weights_path(other) == Path(other)
    monkeypatch.chdir(tmp_path)
    Path("student_w300_tiny").write_text("mine")  # a file of that name comes first
    assert weights_path("student_w300_tiny") == Path("student_w300_tiny")
