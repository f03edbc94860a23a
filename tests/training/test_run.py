import json
import os

import pytest

from kd_loss.errors import UserError
from kd_loss.files import write_json
from kd_loss.training.methods import parse_methods
from kd_loss.training.options import StudentOptions
from kd_loss.training.run import find_teacher, open_run
from kd_loss.training.teachers import teacher_files


def test_a_new_run_takes_the_first_free_name(tmp_path):
    names = [open_run(tmp_path, "", "student", {"seed": 0}, False).name for _ in range(3)]
    assert names == ["student", "student-2", "student-3"]


def test_an_existing_name_is_not_overwritten(tmp_path):
    open_run(tmp_path, "mine", "student", {}, False)
    with pytest.raises(UserError, match="exists; give another --name, or --resume"):
        open_run(tmp_path, "mine", "student", {}, False)


def test_resuming_needs_the_same_options(tmp_path):
    folder = open_run(tmp_path, "mine", "student", {"seed": 0, "workers": 1}, False)
    assert open_run(tmp_path, "mine", "student", {"seed": 0, "workers": 2}, True) == folder
    with pytest.raises(UserError, match="seed was 0, now 1"):
        open_run(tmp_path, "mine", "student", {"seed": 1}, True)
    with pytest.raises(UserError, match="no run to resume"):
        open_run(tmp_path, "other", "student", {}, True)


def test_a_run_records_its_options_and_versions(tmp_path):
    folder = open_run(tmp_path, "", "student", {"seed": 7}, False)
    assert json.loads((folder / "config.json").read_text()) == {"seed": 7}
    assert "keras" in json.loads((folder / "environment.json").read_text())["versions"]


def test_teachers_are_found_by_role_newest_finished_first(tmp_path):
    with pytest.raises(UserError, match="run: python train_teacher.py --dataset w300 --teacher tough"):
        find_teacher("tough", "w300", "", tmp_path)
    for age, name in ((200, "teacher-tough"), (100, "teacher-tough-2"), (0, "teacher-tough-3")):
        folder = tmp_path / "w300" / name
        folder.mkdir(parents=True)
        (folder / "best.h5").write_text("")
        os.utime(folder / "best.h5", (10**9 - age, 10**9 - age))
        write_json(folder / "best.json", {"role": "tough"})
        if age:
            write_json(folder / "finished.json", {})
    assert find_teacher("tough", "w300", "", tmp_path).parent.name == "teacher-tough-2"
    assert str(find_teacher("tough", "w300", "a.h5", tmp_path)) == "a.h5"


def test_methods_with_weights_and_settings():
    methods = parse_methods(["kd_loss", "srrl:0.1"], ["kd_loss.variant=paper", "srrl.beta=0.5"])
    (kd, kd_weight), (srrl, srrl_weight) = methods.items()
    assert (kd.variant, kd_weight, srrl.beta, srrl_weight) == ("paper", 1.0, 0.5, 0.1)


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["kd_loss"], ["variant=paper"], "not of the form method.parameter=value, method one of kd_loss"),
        (["kd_loss"], ["srrl.beta=1"], "method one of kd_loss"),
        (["kd_loss"], ["kd_loss.beta=1"], "unknown parameter of kd_loss 'beta'"),
        (["kd_loss", "kd_loss"], [], "given twice"),
        (["srrl:-1"], [], "not positive"),
        (["srll"], [], "did you mean 'srrl'"),
    ],
)
def test_bad_methods_are_one_line(methods, settings, message):
    with pytest.raises(UserError, match=message):
        parse_methods(methods, settings)


def test_teachers_by_name():
    options = StudentOptions(teacher=["a=x.h5:0.5", "b=y.h5"])
    files = teacher_files(options, parse_methods(["kd"], []), "w300")
    assert files == {"a": (["x.h5"], 0.5), "b": (["y.h5"], 1.0)}
    several = teacher_files(StudentOptions(teacher=["a=x.h5+y.onnx:2"]), parse_methods(["kd"], []), "w300")
    assert several == {"a": (["x.h5", "y.onnx"], 2.0)}
    with pytest.raises(UserError, match="not of the form name=weights"):
        teacher_files(StudentOptions(teacher=["x.h5"]), parse_methods(["kd"], []), "w300")


def listening(methods, **options):
    made = parse_methods(methods, [])
    files = teacher_files(StudentOptions(**options), made, "w300")
    return files, {method.name_on_command_line: method.listens for method in made}


def test_in_a_combination_a_method_is_itself_alone():
    given = {"tough": "t.h5", "tolerant": "s.h5"}
    files, heard = listening(["kd_loss", "srrl:0.1"], **given)
    assert (set(files), heard) == ({"tough", "tolerant"}, {"kd_loss": ("tough", "tolerant"), "srrl": ("tough",)})
    _, heard = listening(["kd_loss", "srrl@tough,tolerant:0.1"], **given)
    assert heard["srrl"] == ("tough", "tolerant")
    files, heard = listening(["kd_loss", "srrl@c"], teacher=["c=c.h5"], **given)
    assert (set(files), heard["srrl"]) == ({"tough", "tolerant", "c"}, ("c",))


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (["kd_loss"], {"teacher": ["tough=a.h5", "extra=b.h5"], "tolerant": "c.h5"}, "nobody listens to the extra"),
        (["kd_loss"], {"teacher": ["good=x.h5"], "tough": "a", "tolerant": "b"}, "nobody listens to the good teacher"),
        (["none"], {"tough": "a.h5"}, "nobody listens to the tough teacher: none listens to no teacher"),
        (["kd"], {"tolerant": "b.h5", "tough": "a.h5"}, "nobody listens to the tolerant teacher: kd listens to tough"),
        (["kd@c"], {}, "--method kd@c: no --teacher c=… is given"),
    ],
)
def test_every_teacher_that_is_named_is_used_or_refused(methods, options, message):
    with pytest.raises(UserError, match=message):
        listening(methods, **options)


def test_resuming_takes_the_unfinished_run(tmp_path):
    first = open_run(tmp_path, "", "student", {"seed": 0}, False)
    second = open_run(tmp_path, "", "student", {"seed": 0}, False)
    write_json(second / "finished.json", {})
    assert open_run(tmp_path, "", "student", {"seed": 0}, True) == first


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", ".hidden", "a b"])
def test_a_run_stays_in_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="cannot name a run"):
        open_run(tmp_path, name, "student", {}, False)
