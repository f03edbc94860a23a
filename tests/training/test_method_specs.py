"""What `--stages` and the stages of `compare --methods` say, and which teachers each of them uses."""

import dataclasses
import logging
import shutil

import numpy as np
import pytest

from kd_loss.networks import load_network
from kd_loss.system.errors import UserError
from kd_loss.training.method_specs import Stage, parse_stages, read_method, read_stage, split_outside, split_stages
from kd_loss.training.options import StudentOptions
from kd_loss.training.train_student import train_student


def weights(folder):
    return load_network(folder / "last.h5").model.get_weights()


def test_a_stage():
    assert read_stage("aht(alpha=0)+pkt:0.1=20@P5") == Stage(["aht(alpha=0)", "pkt:0.1"], 20, "P5")
    assert read_stage("ail=20@") == Stage(["ail"], 20, "")


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("kd", []),
        ("kd(imitation=0.5)+rkd:0.1", []),
        ("mine(path=a/b)", []),
        ("kd=20", ["kd=20"]),
        ("aht(alpha=0)=20/ail=20@P5", ["aht(alpha=0)=20", "ail=20@P5"]),
        ("aht/ail=20", ["aht", "ail=20"]),  # meant as stages, and refused as such
    ],
)
def test_what_is_meant_as_stages(text, stages):
    assert split_stages(text) == stages


@pytest.mark.parametrize("text", ["aht", "aht=", "aht=0", "aht=20@P5@P4", "=20", "aht = twenty"])
def test_an_invalid_stage(text):
    with pytest.raises(UserError, match="is not of the form methods=epochs"):
        read_stage(text, "--methods")


def test_each_stage_has_the_teachers_that_it_uses():
    options = StudentOptions(
        stages=["none=5", "aht(alpha=0)=10", "kd_loss=20@P4"], tough="a.h5", tolerant="b.h5", teacher_mirror=True,
        init="start.h5",
    )  # fmt: skip
    alone, hint, last = parse_stages(options)
    assert (alone.tough, alone.tolerant, alone.teacher_mirror, alone.init) == ("", "", False, "start.h5")
    assert (hint.tough, hint.tolerant, hint.teacher_mirror, hint.init) == ("a.h5", "", True, "")
    assert (last.tough, last.tolerant, last.freeze, last.epochs) == ("a.h5", "b.h5", "P4", 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerant": "b.h5"}, "no method uses the tolerant teacher in --stages aht=10 ail=20"),
        ({"teacher": ["big=a.h5"], "tough": "c.h5"}, "no method uses the tough teacher in --stages"),
        ({"freeze": "P4"}, "--freeze P4: with --stages each stage has its own, e.g. ail=20@P4"),
        ({"method_arg": ["kd.main=1"]}, "--method-arg kd.main=1: no such method in --stages"),
    ],
)
def test_what_no_stage_can_mean(changes, message):
    with pytest.raises(UserError, match=message):
        parse_stages(StudentOptions(stages=["aht=10", "ail=20"], **changes))


def test_stages_follow_each_other(options, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    staged = dataclasses.replace(
        options, stages=["aht=1", "ail=1@embedding"], method_arg=["aht.alpha=0.0", "ail.alpha=0.3"], name="staged"
    )
    folder = train_student(staged)
    assert folder.name == "staged"
    first, second = (load_network(options.runs / "synthetic" / n / "last.h5") for n in ("staged-stage1", "staged"))
    for layer in second.model.layers[:-2]:
        for x, y in zip(layer.get_weights(), first.model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(x, y, err_msg=layer.name)
    assert (first.head_weights()[0] != second.head_weights()[0]).any()
    assert any("started from student tiny" in line for line in caplog.messages)
    # stopped after the first stage: it goes on with the second
    whole = weights(folder)
    shutil.rmtree(folder)
    again = train_student(dataclasses.replace(staged, resume=True))
    for x, y in zip(weights(again), whole, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["aht"]}, r"not of the form methods=epochs\[@tap\]"),
        ({"stages": ["aht=0"]}, "not of the form"),
        ({"stages": ["kd=1", "nome=1"]}, "did you mean 'none'"),
        ({"stages": ["kd=1", "kd=1@P9"]}, "no tap 'P9'; taps are: landmarks, embedding, heatmaps, "),
        ({"stages": ["kd=1", "aht=1"], "method_arg": ["aht.tap=P9"]}, "no tap 'P9'"),
        ({"stages": ["kd=1"], "method_arg": ["ail.alpha=0.5"]}, "no such method in --stages"),
        ({"freeze": "P9"}, "no tap 'P9'"),
        ({"method": ["aht"], "method_arg": ["aht.tap=P9"]}, "no tap 'P9'"),
    ],
)
def test_bad_stages(options, changes, message):
    before = set(options.runs.glob("*/*"))
    with pytest.raises(UserError, match=message):
        train_student(dataclasses.replace(options, **changes))
    assert set(options.runs.glob("*/*")) == before


@pytest.mark.parametrize("text", ["a" * 10**6, "kd(" + "a=1," * 250_000 + ")", "(" * 10**6, "none=" * 200_000 + "3"])
def test_a_method_of_a_million_characters_is_one_line(text):
    for read in (read_stage, read_method):
        with pytest.raises(UserError) as caught:
            read(text)
        assert len(str(caught.value)) < 300
        assert "10,000 at the most" in str(caught.value)


def test_brackets_hide_separators():
    assert split_outside("a(x=[1,2],y=1)/b//", "/") == ["a(x=[1,2],y=1)", "b", "", ""]
    assert split_outside("", ",") == [""]
