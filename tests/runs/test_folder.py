import io
import json
import os
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from kd_loss.keypoints.options import KeypointDistillationOptions, KeypointOptions
from kd_loss.runs.folder import (
    FREE_OPTIONS,
    RENAMED,
    differences,
    find_teacher,
    finished_runs,
    open_run,
    readable,
    start_record,
)
from kd_loss.runs.history import read_history, write_history
from kd_loss.runs.state import check_declared, load_state, save_state
from kd_loss.system.configuration import old_names, read_config, to_plain
from kd_loss.system.deprecation import RenamedWarning
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, write_json
from kd_loss.system.overwrite_guard import LOCK
from kd_loss.training.method_specs import parse_methods, read_method, split_methods, with_teachers
from kd_loss.training.options import StudentOptions, TeacherOptions, TrainingOptions
from kd_loss.training.teachers.files import named_teachers, teacher_files


def test_a_new_run_takes_the_first_free_name(tmp_path):
    names = [open_run(tmp_path, "", "student", {"seed": 0}, False).name for _ in range(3)]
    assert names == ["student", "student-2", "student-3"]


def test_an_existing_name_is_not_overwritten(tmp_path):
    open_run(tmp_path, "mine", "student", {}, False)
    with pytest.raises(UserError, match="exists; give another --name, or --resume"):
        open_run(tmp_path, "mine", "student", {}, False)


def test_a_run_is_trained_by_one_process(tmp_path):
    """What another one holds is neither begun nor resumed; a run that was killed while it began is."""
    with alone_in(tmp_path / "mine"), pytest.raises(UserError, match="another kd-loss process is writing"):
        open_run(tmp_path, "mine", "student", {}, False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / LOCK).touch()
    assert open_run(tmp_path, "mine", "student", {}, False) == tmp_path / "mine"


def test_resuming_needs_the_same_options(tmp_path):
    folder = open_run(tmp_path, "mine", "student", {"seed": 0, "workers": 1}, False)
    assert open_run(tmp_path, "mine", "student", {"seed": 0, "workers": 2}, True) == folder
    with pytest.raises(UserError, match="seed was 0, now 1"):
        open_run(tmp_path, "mine", "student", {"seed": 1}, True)
    with pytest.raises(UserError, match="no run to resume"):
        open_run(tmp_path, "other", "student", {}, True)


def test_a_run_of_0_1_is_resumed_though_its_options_have_other_names_now(tmp_path):
    options = StudentOptions(head="heatmap", output_stride="P4", augment_strength=0.5, method_arg=["srrl.beta=0.5"])
    now = to_plain(options)
    then = {"set": "method_arg", "cut": "output_stride", "augment": "augment_strength"}
    before = {**{key: value for key, value in now.items() if key not in then.values()}}
    before |= {old: now[new] for old, new in then.items()}
    (tmp_path / "old").mkdir()
    write_json(tmp_path / "old" / "config.json", before)
    assert open_run(tmp_path, "old", "student", now, resume=True) == tmp_path / "old"
    with pytest.raises(UserError, match=r"with other options: augment_strength was 0\.5, now 1\.0"):
        open_run(tmp_path, "old", "student", to_plain(replace(options, augment_strength=1.0)), resume=True)
    with pytest.warns(RenamedWarning):  # and its file makes a new one
        assert read_config(tmp_path / "old" / "config.json", StudentOptions)["method_arg"] == ["srrl.beta=0.5"]


def test_every_renamed_option_of_a_training_is_known_in_older_runs():
    renamed = [old_names(cls) for cls in (StudentOptions, KeypointOptions, KeypointDistillationOptions)]
    every = {old: new for names in renamed for old, new in names.items()}
    assert {old: new for old, new in every.items() if new not in FREE_OPTIONS} == RENAMED
    # that of train-teacher stood beside what the run itself recorded as its role
    assert old_names(TeacherOptions) == {**old_names(TrainingOptions), "teacher": "role"}


def test_a_run_records_its_options_and_versions(tmp_path):
    folder = open_run(tmp_path, "", "student", {"seed": 7}, False)
    assert json.loads((folder / "config.json").read_text()) == {"seed": 7}
    assert "keras" in json.loads((folder / "environment.json").read_text())["versions"]


def test_teachers_are_found_by_role_newest_finished_first(tmp_path):
    with pytest.raises(UserError, match="run: kd-loss train-teacher --dataset w300 --role tough"):
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
    (kd, kd_weight, _), (srrl, srrl_weight, _) = methods
    assert (kd.variant, kd_weight, srrl.beta, srrl_weight) == ("paper", 1.0, 0.5, 0.1)


def test_a_method_with_settings_of_its_own():
    started = read_method("srrl(alpha=0, beta=1e+1)@tough,tolerant:0.1")
    assert started == ("srrl", ("alpha=0", "beta=1e+1"), ("tough", "tolerant"), 0.1)
    assert split_methods("kd+srrl(beta=1e+1):0.1") == ["kd", "srrl(beta=1e+1):0.1"]
    assert read_method("mine( at = [1, 2] ,to=(3,))").settings == ("at=[1, 2]", "to=(3,)")
    [srrl] = parse_methods(["srrl(beta=2.0)"], ["srrl.beta=0.5", "srrl.alpha=3.0"])
    assert (srrl.method.alpha, srrl.method.beta) == (3.0, 2.0)  # its own win


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["srrl(beta)"], [], r"settings follow the name, e.g. 'srrl\(alpha=0,beta=2\)"),
        (["srrl(beta=1"], [], "settings follow"),
        (["srrl)"], [], "settings follow"),
        (["srrl(beta=1,beta=2)"], [], "a setting is given twice"),
        (["srrl(gamma=1)"], [], "unknown parameter of srrl 'gamma'"),
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


def teachers_of(methods, **options):
    made = parse_methods(methods, [])
    files = teacher_files(StudentOptions(**options), made, "w300")
    return files, {use.name: use.teachers for use in with_teachers(made, named_teachers(StudentOptions(**options)))}


def test_in_a_combination_a_method_is_itself_alone():
    given = {"tough": "t.h5", "tolerant": "s.h5"}
    files, used = teachers_of(["kd_loss", "srrl:0.1"], **given)
    assert (set(files), used) == ({"tough", "tolerant"}, {"kd_loss": ("tough", "tolerant"), "srrl": ("tough",)})
    _, used = teachers_of(["kd_loss", "srrl@tough,tolerant:0.1"], **given)
    assert used["srrl"] == ("tough", "tolerant")
    files, used = teachers_of(["kd_loss", "srrl@c"], teacher=["c=c.h5"], **given)
    assert (set(files), used["srrl"]) == ({"tough", "tolerant", "c"}, ("c",))


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (["kd_loss"], {"teacher": ["tough=a.h5", "extra=b.h5"], "tolerant": "c.h5"}, "no method uses the extra"),
        (["kd_loss"], {"teacher": ["good=x.h5"], "tough": "a", "tolerant": "b"}, "no method uses the good teacher"),
        (["none"], {"tough": "a.h5"}, "no method uses the tough teacher: none uses no teacher"),
        (["kd"], {"tolerant": "b.h5", "tough": "a.h5"}, "no method uses the tolerant teacher: kd uses tough"),
        (["kd@c"], {}, "--method kd@c: no --teacher c=… is given"),
    ],
)
def test_every_teacher_that_is_named_is_used_or_refused(methods, options, message):
    with pytest.raises(UserError, match=message):
        teachers_of(methods, **options)


def test_resuming_takes_the_unfinished_run(tmp_path):
    first = open_run(tmp_path, "", "student", {"seed": 0}, False)
    second = open_run(tmp_path, "", "student", {"seed": 0}, False)
    write_json(second / "finished.json", {})
    assert open_run(tmp_path, "", "student", {"seed": 0}, True) == first


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", ".hidden", "a b"])
def test_a_run_stays_in_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="cannot name a run"):
        open_run(tmp_path, name, "student", {}, False)


def test_changes_are_reported_in_words(tmp_path):
    """The dataset prepared again, another teacher: no dictionary and no checksum on the screen."""
    decided = {"data_sha256": "a" * 64, "epochs": 3, "teachers": {"tough": {"sha256": "b" * 64}, "tolerant": {}}}
    open_run(tmp_path, "mine", "student", {"seed": 0, "decided_by": decided}, False)
    now = {"data_sha256": "c" * 64, "epochs": 4, "teachers": {"tough": {"sha256": "d" * 64}, "tolerant": {}}}
    with pytest.raises(UserError) as raised:
        open_run(tmp_path, "mine", "student", {"seed": 0, "decided_by": now}, True)
    assert str(raised.value) == (
        f"cannot resume {tmp_path / 'mine'} with other options: the dataset has been prepared anew since; "
        "epochs was 3, now 4; the teacher 'tough' is another one"
    )


def test_the_start_is_known_by_its_contents(tmp_path):
    """The same weights elsewhere are the same start, other weights in their place are not."""
    here, there = tmp_path / "a.h5", tmp_path / "b.h5"
    for path in (here, there):
        path.write_text("weights")

    def started(init):
        return {"init": str(init), "decided_by": {"method": "kd", **start_record(str(init))}}

    before = started(here)
    assert differences(before, started(there)) == []
    there.write_text("other weights")
    assert differences(before, started(there)) == [f"init was '{here}', now '{there}'"]
    here.write_text("trained anew")
    assert differences(before, started(here)) == ["the weights of --init are other ones"]
    assert differences(before, started("")) == [f"init was '{here}', now ''"]
    assert differences(started(""), started(here)) == [f"init was '', now '{here}'"]
    # of a version that did not record which photographs there were, and of this one
    some = {"unlabelled": {"faces": 3}}
    assert differences({"decided_by": some}, {"decided_by": {**some, "photographs_sha256": "a"}}) == []
    then, now = ({"decided_by": {**some, "photographs_sha256": digest}} for digest in "ab")
    assert differences(then, now) == ["the photographs of --unlabelled are other ones"]
    # of a version that kept the path alone
    old = {"init": str(here), "decided_by": {"method": "kd"}}
    assert differences(old, started(here)) == []
    assert differences(old, started(there)) == [f"init was '{here}', now '{there}'"]


def test_a_record_on_the_screen():
    record = {"tough": {"weights": "a/best.h5", "sha256": "0123456789ab" + "c" * 52, "share": 1.0}}
    assert readable(record) == "tough: weights: 'a/best.h5', sha256: 0123456789ab, share: 1.0"


@pytest.mark.parametrize("card", ['{"role": "tough", "training": null}', "[1]", "{", '{"training": {"method": 3}}'])
def test_a_card_of_another_run_does_not_matter(tmp_path, card):
    folder = tmp_path / "w300" / "other"
    folder.mkdir(parents=True)
    (folder / "best.h5").write_text("")
    (folder / "best.json").write_text(card)
    write_json(folder / "finished.json", {})
    assert finished_runs(tmp_path / "w300", role="student", method="none") == []


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "epoch,nme,seconds\n1,x,2\n", "epoch,nme,seconds\n1,2\n", "epoch,nme,seconds\n1,2,3,4\n", "\xff"],
)
def test_a_history_of_something_else(tmp_path, text):
    (tmp_path / "history.csv").write_bytes(text.encode("latin-1"))
    if text == "\xff":
        (tmp_path / "history.csv").write_bytes(b"epoch,nme,seconds\n\xff\xfe,1,2\n")
    with pytest.raises(UserError, match="is not the history of a training"):
        read_history(tmp_path / "history.csv")


def test_a_history_there_and_back(tmp_path):
    rows = [{"epoch": 1.0, "nme": 5.0, "seconds": 0.5}]
    write_history(tmp_path / "history.csv", rows)
    assert read_history(tmp_path / "history.csv") == rows


def damaged_states(sound):
    rng = np.random.default_rng(0)
    for i in range(150):
        changed = bytearray(sound)
        if i % 3 == 0:
            changed = changed[: rng.integers(0, len(changed))]
        else:
            for place in rng.integers(0, len(changed), 1 + i % 3):
                changed[place] = rng.integers(0, 256)
        yield bytes(changed)


def test_a_damaged_state_is_one_line(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / "state.npz"
    save_state(path, model, best=1.0, history=[])
    assert load_state(path, model) == {"best": 1.0, "history": []}
    refused = []
    for data in damaged_states(path.read_bytes()):
        path.write_bytes(data)
        try:
            load_state(path, model)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 80
    assert not any("\n" in message for message in refused)


def test_a_state_that_claims_a_terabyte_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 38,)})
    with zipfile.ZipFile(tmp_path / "state.npz", "w") as archive:
        archive.writestr("v0.npy", header.getvalue() + bytes(64))
    with pytest.raises(UserError, match=r"v0.npy claims \(274877906944,\), more than it holds"):
        check_declared(tmp_path / "state.npz")


def test_a_run_that_was_killed_before_it_had_a_configuration(tmp_path):
    (tmp_path / "mine").mkdir()
    assert open_run(tmp_path, "mine", "student", {"seed": 0}, False) == tmp_path / "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="exists; give another --name"):
        open_run(tmp_path, "other", "student", {"seed": 0}, False)


def test_options_that_an_older_run_does_not_record_are_how_it_was_trained():
    assert differences({"epochs": 3}, {"epochs": 3, "turn_head": 0.0, "mirror": True, "visibility": False}) == []
    assert differences({"epochs": 3}, {"epochs": 3, "turn_head": 15.0}) == ["turn_head was 0.0, now 15.0"]
