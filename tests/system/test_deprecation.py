"""Old names keep working, and each names its new one."""

import inspect
import warnings
from dataclasses import dataclass, replace

import pytest

from kd_loss.system.configuration import Options, from_keywords, old_names, option, parse, read_config
from kd_loss.system.deprecation import (
    RenamedAttribute,
    RenamedWarning,
    old_names_shown,
    renamed_keywords,
    warn_renamed,
)
from kd_loss.system.errors import UserError
from kd_loss.system.messages import shown


@dataclass(frozen=True)
class Crops(Options):
    """An example."""

    border: float = option(0.25, "border", also="--room", within=(0, 1))
    compare_with_runs: bool = option(True, "others too", also="--beside")
    method_arg: list[str] = option([], "parameters", also="--set")


def test_the_names_that_are_old():
    assert old_names(Crops) == {"room": "border", "beside": "compare_with_runs", "set": "method_arg"}


@pytest.mark.parametrize(
    ("argv", "old", "new", "value"),
    [
        (["--room", "0.5"], "--room", "border", 0.5),
        (["--room=0.5", "--room", "0.75"], "--room", "border", 0.75),
        (["--no-beside"], "--no-beside", "compare_with_runs", False),
        (["--set", "a.b=1", "c.d=2"], "--set", "method_arg", ["a.b=1", "c.d=2"]),
    ],
)
def test_an_old_option_warns_once_and_is_the_new_one(argv, old, new, value):
    with pytest.warns(RenamedWarning) as caught:
        options = parse(Crops, argv)
    assert getattr(options, new) == value
    dashed = ("--no-" if old.startswith("--no-") else "--") + new.replace("_", "-")
    assert [str(w.message) for w in caught] == [f"{old} is now {dashed}; the old name will be removed in 0.3"]


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(Crops, ["--border", "0.5", "--no-compare-with-runs"]).border == 0.5
        assert replace(Crops(border=0.5), method_arg=["a"]).border == 0.5


def test_help_names_the_new_ones_alone(capsys):
    with pytest.raises(SystemExit):
        parse(Crops, ["--help"])
    text = capsys.readouterr().out
    assert "--border" in text
    assert "--room" not in text


def test_old_keywords_and_attributes_of_options():
    assert list(inspect.signature(Crops).parameters) == ["config", "border", "compare_with_runs", "method_arg"]
    with pytest.warns(RenamedWarning, match=r"Crops\(room=…\) is now border=…"):
        options = Crops(room=0.5)
    with pytest.warns(RenamedWarning, match=r"Crops\.room is now border"):
        assert options.room == options.border == 0.5
    with pytest.warns(RenamedWarning):
        assert replace(options, room=1.0).border == 1
    with pytest.raises(AttributeError, match="no attribute 'rooms'"):
        _ = options.rooms
    with pytest.warns(RenamedWarning), pytest.raises(UserError, match="--border 2 is out of range"):
        Crops(room=2.0)


def test_old_keywords_of_a_function_and_keys_of_a_file(tmp_path):
    with pytest.warns(RenamedWarning, match=r"prepare\(room=…\) is now border=…"):
        assert from_keywords(Crops, {"room": 0.5}, "prepare").border == 0.5
    with pytest.warns(RenamedWarning), pytest.raises(UserError, match="border is given under two names"):
        from_keywords(Crops, {"room": 0.5, "border": 0.5}, "prepare")
    (tmp_path / "c.toml").write_text("room = 0.5\nset = ['a.b=1']")
    with pytest.warns(RenamedWarning, match="c.toml: 'room' is now 'border'"):
        assert read_config(tmp_path / "c.toml", Crops) == {"border": 0.5, "method_arg": ["a.b=1"]}


def test_attributes_methods_and_keywords_of_a_class():
    @renamed_keywords(box="crop_box")
    @dataclass(frozen=True)
    class Face:
        crop_box: tuple[int, int]
        box = RenamedAttribute("crop_box")
        around = RenamedAttribute("landmark_box")

        def landmark_box(self) -> int:
            return sum(self.crop_box)

    with pytest.warns(RenamedWarning, match=r"Face\(box=…\) is now crop_box=…"):
        face = Face(box=(1, 2))
    with pytest.warns(RenamedWarning, match=r"Face\.box is now crop_box; the old name will be removed in 0\.3"):
        assert face.box == (1, 2)
    with pytest.warns(RenamedWarning, match=r"Face\.around is now landmark_box"):
        assert face.around() == 3
    with pytest.warns(RenamedWarning):
        assert replace(face, box=(3, 4)) == Face((3, 4)) == replace(face, crop_box=(3, 4))


def test_both_names_at_once():
    @renamed_keywords(room="border")
    def crop(border=0.0):
        return border

    with pytest.raises(TypeError, match=r"crop\(\) got border and room, its old name"):
        crop(room=1, border=1)


def test_commands_show_old_names_on_standard_error(capsys):
    with shown(), old_names_shown():
        warn_renamed("--room", "--border")
    assert capsys.readouterr().err == "warning: --room is now --border; the old name will be removed in 0.3\n"


def test_a_method_takes_the_old_name_of_a_parameter():
    from kd_loss.distillation import get_method
    from kd_loss.distillation.keypoints import KeypointDistillation

    with pytest.warns(RenamedWarning, match=r"keypoints.letter is now keypoints.as_published"):
        assert get_method("keypoints", {"letter": True}).as_published
    with pytest.warns(RenamedWarning, match=r"KeypointDistillation\(letter=…\) is now as_published=…"):
        method = KeypointDistillation(letter=True)
    assert method.get_config()["as_published"] is True
    with pytest.raises(UserError, match="unknown keypoints.*lettre|unknown parameter of keypoints 'lettre'"):
        get_method("keypoints", {"lettre": True})


def test_old_names_of_the_public_api():
    import kd_loss
    from kd_loss.training.options import StudentOptions

    with pytest.warns(RenamedWarning, match="kd_loss.DatasetSpec is now LandmarkScheme"):
        assert kd_loss.DatasetSpec is kd_loss.LandmarkScheme
    with pytest.warns(RenamedWarning, match="--teachers is now --teacher-mode"):
        assert parse(StudentOptions, ["--teachers", "live"]).teacher_mode == "live"
    with pytest.warns(RenamedWarning, match="load\\(mirror=…\\) is now flip_test=…"):
        predictor = kd_loss.LandmarkPredictor.load(mirror=True)
    with pytest.warns(RenamedWarning, match="LandmarkPredictor.spec is now scheme"):
        assert predictor.spec is predictor.scheme
    with pytest.warns(RenamedWarning, match="FaceTracker\\(every=…\\) is now detect_every=…"):
        assert kd_loss.FaceTracker(predictor, lambda image: [], every=3).detect_every == 3
