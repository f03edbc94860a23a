import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kd_loss.comparison import compare
from kd_loss.comparison.compare import CompareOptions, run_compare, student_options, with_one_start
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in
from kd_loss.training.method_specs import named_stages
from kd_loss.training.options import TeacherOptions
from kd_loss.training.train_teachers import train_teachers


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    common = {
        "dataset": "synthetic", "arch": "tiny", "epochs": 1, "batch_size": 8, "size": 32, "data": data_folder,
        "runs": tmp_path_factory.mktemp("runs"), "head": "pooled",
    }  # fmt: skip
    train_teachers(TeacherOptions(role="tough", **common))
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
    folder = options.runs / "synthetic" / "compare"
    with alone_in(folder), pytest.raises(UserError, match=f"another kd-loss process is writing {folder}"):
        run_compare(options)
    assert not trained
    with pytest.raises(UserError, match=r"1 of 3 trainings failed \(kd, seed 0: RuntimeError: out of memory\);"):
        run_compare(options)
    summary = json.loads((folder / "compare.json").read_text())
    assert set(summary["methods"]) == {"none", "srrl+rkd:0.5"}
    assert summary["failures"] == {"kd, seed 0": "RuntimeError: out of memory"}
    assert "out of memory" in (folder / "report.html").read_text()
    # again: only what is missing is trained
    again = run_compare(options)
    assert trained[3:] == ["compare/kd-seed0"]
    assert set(again["methods"]) == {"none", "kd", "srrl+rkd:0.5"}
    assert again["methods"]["none"] == summary["methods"]["none"]
    gain = again["methods"]["kd"]["against_none"]
    difference = again["methods"]["kd"]["nme"]["full"]["mean"] - again["methods"]["none"]["nme"]["full"]["mean"]
    assert gain["mean"] == pytest.approx(difference)
    assert gain["faces_low"] <= gain["mean"] <= gain["faces_high"]
    assert (gain["seeds"], gain["low"], gain["high"], gain["p"]) == (1, None, None, None)  # one training each
    assert "says nothing about other trainings" in (folder / "report.html").read_text()
    # all have a distance to the teacher, also those trained without it
    observed = {method: again["methods"][method]["akd"] for method in ("none", "kd")}
    assert observed["none"] == pytest.approx(0, abs=1e-6)  # the teacher's own training: same network, seed and loss
    assert 0 < observed["kd"] < 2
    assert "akd" in (folder / "report.html").read_text()

    # every student once more in the finder's crops, which see only some of the faces
    def found(run, flip_test):
        assert not flip_test
        values = np.full(len(run.nme), np.nan)
        values[:2] = 1.0, 3.0
        about = {"found": 2, "found_nme_annotated": 1.5}
        return SimpleNamespace(nme=values, network=about)

    monkeypatch.setattr(compare, "found_result", found)
    seen = run_compare(dataclasses.replace(options, finder=True))["finder"]
    assert seen["kd"] == [{"nme": 2.0, "nme_annotated": 1.5, "found": 2}]
    assert len(trained) == 4
    assert "finder&#39;s crops" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_stages_and_settings_stand_in_the_table(options):
    staged = "srrl(beta=2.0)=1/kd=1@embedding"
    # the name in capitals is found as everywhere
    mine = dataclasses.replace(options, methods=[staged, "kd(imitation=3.0)"], name="staged", dataset="Synthetic")
    student = student_options(dataclasses.replace(mine, dataset="synthetic"), staged, 0, "staged")
    first, second = named_stages(student)
    assert (first.name, first.method, first.init) == (f"{student.name}-stage1", ["srrl(beta=2.0)"], "")
    assert (second.name, second.freeze) == (student.name, "embedding")
    assert second.init == str(options.runs / "synthetic" / first.name / "last.h5")
    summary = run_compare(mine)
    assert (list(summary["methods"]), summary["failures"]) == ([staged, "kd(imitation=3.0)"], {})
    assert summary["teacher"].startswith("tough: ")
    assert (
        f"{staged} has 2 epochs in all, the others 1."
        in (options.runs / "synthetic" / "staged" / "report.html").read_text()
    )
    # a run that stopped between the stages goes on, and what is there is not trained again
    shutil.rmtree(options.runs / "synthetic" / student.name)
    before = (options.runs / "synthetic" / first.name / "last.h5").stat().st_mtime_ns
    assert run_compare(mine)["methods"][staged]["nme"] == summary["methods"][staged]["nme"]
    assert (options.runs / "synthetic" / first.name / "last.h5").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="-stage1 was trained with other options: learning_rate"):
        run_compare(dataclasses.replace(mine, learning_rate=0.5))


def test_without_a_teacher_no_teacher_option_is_suggested(options):
    mine = dataclasses.replace(options, teacher_mirror=True, teacher_mode="cached")
    alone, distilled = (student_options(mine, method, 0, "folder") for method in ("none", "kd"))
    assert (alone.teacher_mirror, alone.teachers) == (False, "auto")
    assert (distilled.teacher_mirror, distilled.teachers) == (True, "cached")


def test_other_options_are_not_answered_with_old_figures(options, tmp_path):
    """A finished comparison, asked for again with other options, another dataset or another teacher."""
    mine = dataclasses.replace(options, methods=["kd"], name="again")
    before = run_compare(mine)
    assert run_compare(mine)["methods"] == before["methods"]
    for changes, message in (
        ({"epochs": 2}, "epochs was 1, now 2"),
        ({"learning_rate": 0.5}, "learning_rate was"),
        ({"method_arg": ["kd.beta=0.5"]}, "method_arg was|unknown parameter"),
    ):
        with pytest.raises(UserError, match=message):
            run_compare(dataclasses.replace(mine, **changes))
    data = tmp_path / "data"
    shutil.copytree(options.data / "synthetic", data / "synthetic")
    manifest = json.loads((data / "synthetic" / "manifest.json").read_text())
    for array, message in (
        ("images", "the images of the dataset are other ones"),
        ("landmarks", "the dataset has been prepared anew since; the images .*; give another --name"),
    ):
        manifest["sha256"][f"train/{array}.npy"] = "0" * 64
        (data / "synthetic" / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=f"other options: {message}"):
            run_compare(dataclasses.replace(mine, data=data))
    [teacher] = options.runs.glob("synthetic/teacher-tough/best.h5")
    other = tmp_path / "other.h5"
    other.write_bytes(teacher.read_bytes() + b"x")
    other.with_suffix(".json").write_bytes(teacher.with_suffix(".json").read_bytes())
    with pytest.raises(UserError, match="the teacher 'tough' is another one") as raised:
        run_compare(dataclasses.replace(mine, tough=str(other)))
    assert not re.search("[0-9a-f]{64}", str(raised.value))


def test_all_methods_start_from_one_teacher(options):
    """`none` hears no teacher, and starts from the one that is named all the same."""
    dataset = SimpleNamespace(folder=Path("synthetic"))
    mine = dataclasses.replace(options, methods=["none", "kd"], init="teacher")
    assert with_one_start(dataclasses.replace(mine, teacher=["a=named.h5"]), dataset).init == "named.h5"
    assert with_one_start(dataclasses.replace(mine, tough="other.h5"), dataset).init == "other.h5"
    assert with_one_start(mine, dataset).init.endswith("teacher-tough/best.h5")
    assert with_one_start(dataclasses.replace(mine, init="a.h5"), dataset).init == "a.h5"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["nome"]}, "did you mean 'none'"),
        ({"methods": ["none", "none"]}, "twice"),
        ({"methods": ["kd:2", "kd=2"]}, "two whose runs share a name: 'kd:2' and 'kd=2'"),
        ({"methods": ["aht=1/kd"]}, "--methods kd is not of the form methods=epochs"),
        ({"methods": ["kd_loss"]}, "no tolerant teacher"),
        ({"method_arg": ["kd_loss.main=1"]}, "no such method among kd"),
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


def test_students_of_an_earlier_comparison_join_the_table(options, monkeypatch):
    first = dataclasses.replace(options, methods=["none", "kd(imitation=2.0)"], name="first")
    before = run_compare(first)
    trained: list[str] = []
    train = compare.train_student
    monkeypatch.setattr(compare, "train_student", lambda student: (trained.append(student.name), train(student)))
    grown = dataclasses.replace(options, methods=["none"], name="grown", join=["first"], seeds=2)
    after = run_compare(grown)
    # seed 0 of `none` is taken from there, and the method that only the earlier one has is in the table, too
    assert trained == ["grown/none-seed1"]
    assert {name: entry["seeds"] for name, entry in after["methods"].items()} == {"none": 2, "kd(imitation=2.0)": 1}
    assert after["methods"]["kd(imitation=2.0)"] == before["methods"]["kd(imitation=2.0)"]
    assert (options.runs / "synthetic" / "grown" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    shutil.copytree(options.runs / "synthetic" / "first", options.runs / "synthetic" / "copy")
    for changes, message in (
        ({"join": ["nowhere"]}, "--join nowhere: no finished student"),
        ({"join": ["first", "copy"], "name": "new"}, r"--join: kd\(imitation=2.0\), seed 0 is in first and in copy"),
        (
            {"learning_rate": 0.5, "name": "new"},
            "--join first: first/.*-seed0 was trained with other options: learning_",
        ),
    ):
        with pytest.raises(UserError, match=message):
            run_compare(dataclasses.replace(grown, **changes))
    assert len(trained) == 1
