import dataclasses
import json

import pytest

from kd_loss.errors import UserError
from kd_loss.evaluation import compare
from kd_loss.evaluation.compare import run_compare, student_options
from kd_loss.training.options import CompareOptions, TeacherOptions
from kd_loss.training.teacher import train_teachers


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    common = {
        "dataset": "synthetic", "arch": "tiny", "epochs": 1, "batch_size": 8, "size": 32, "data": data_folder,
        "runs": tmp_path_factory.mktemp("runs"), "head": "pooled",
    }  # fmt: skip
    train_teachers(TeacherOptions(teacher="tough", **common), tell=lambda _: None)
    return CompareOptions(methods=["none", "kd", "srrl+rkd:0.5"], seeds=1, **common)


def test_a_comparison_is_written_resumed_and_survives_a_failure(options, monkeypatch):
    trained: list[str] = []
    train = compare.train_student

    def failing(student):
        trained.append(student.name)
        if student.method == ["kd"] and len(trained) < 4:
            raise RuntimeError("out of memory")
        return train(student)

    monkeypatch.setattr(compare, "train_student", failing)
    summary = run_compare(options)
    assert set(summary["methods"]) == {"none", "srrl+rkd:0.5"}
    assert summary["failures"] == {"kd, seed 0": "RuntimeError: out of memory"}
    folder = options.runs / "synthetic" / "compare"
    assert json.loads((folder / "compare.json").read_text()) == summary
    assert "out of memory" in (folder / "report.html").read_text()
    # again: only what is missing is trained
    again = run_compare(options)
    assert trained[3:] == ["compare/kd-seed0"]
    assert set(again["methods"]) == {"none", "kd", "srrl+rkd:0.5"}
    assert again["methods"]["none"] == summary["methods"]["none"]
    gain = again["methods"]["kd"]["against_none"]
    difference = again["methods"]["kd"]["nme"]["full"]["mean"] - again["methods"]["none"]["nme"]["full"]["mean"]
    assert gain["mean"] == pytest.approx(difference)
    assert gain["low"] <= gain["mean"] <= gain["high"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["nome"]}, "did you mean 'none'"),
        ({"methods": ["none", "none"]}, "twice"),
        ({"methods": ["kd_loss"]}, "no tolerant teacher"),
        ({"set": ["kd_loss.main=1"]}, "no such method among kd"),
        ({"teacher": ["a=nowhere.h5"]}, "no such weights"),
        ({"seeds": 0}, "--seeds 0"),
    ],
)
def test_bad_input_is_one_line_before_any_training(options, changes, message):
    import dataclasses

    with pytest.raises(UserError, match=message):
        run_compare(dataclasses.replace(options, methods=changes.pop("methods", ["kd"]), name="bad", **changes))
    assert not (options.runs / "synthetic" / "bad").exists()


def test_the_baseline_never_sees_unlabelled_faces(options):
    given = dataclasses.replace(options, unlabelled="photographs")
    assert student_options(given, "none", 0, "compare").unlabelled == ""
    assert student_options(given, "kd", 0, "compare").unlabelled == "photographs"
