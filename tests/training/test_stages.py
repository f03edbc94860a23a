"""What `--stages` and the stages of `compare --methods` say, and whom each of them listens to."""

import pytest

from kd_loss.errors import UserError
from kd_loss.training.options import StudentOptions
from kd_loss.training.stages import Stage, parse_stages, read_stage, split_stages


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
def test_what_is_no_stage(text):
    with pytest.raises(UserError, match="is not of the form methods=epochs"):
        read_stage(text, "--methods")


def test_each_stage_has_the_teachers_that_it_listens_to():
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
        ({"tolerant": "b.h5"}, "nobody listens to the tolerant teacher in --stages aht=10 ail=20"),
        ({"teacher": ["big=a.h5"], "tough": "c.h5"}, "nobody listens to the tough teacher in --stages"),
        ({"freeze": "P4"}, "--freeze P4: with --stages each says its own, e.g. ail=20@P4"),
        ({"set": ["kd.main=1"]}, "--set kd.main=1: no such method in --stages"),
    ],
)
def test_what_no_stage_can_mean(changes, message):
    with pytest.raises(UserError, match=message):
        parse_stages(StudentOptions(stages=["aht=10", "ail=20"], **changes))
