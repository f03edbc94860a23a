"""Every public callable with values of every kind: it takes them, or answers with one line that names the argument."""

import inspect
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss import UserError
from kd_loss.system.arguments import shown

VALUES = {
    **{"None": None, "[]": [], "{}": {}, "bytes": b"ab\xff", "whole": 7, "negative": -1, "number": 1.5, "true": True},
    **{"nan": float("nan"), "inf": float("inf"), "huge": 10**400, "text": "nonsense", "empty text": "", "nul": "a\0b"},
    **{"surrogate": "a\udc80b", "[None]": [None], "object": object(), "empty array": np.zeros(0)},
    **{"cube": np.zeros((3, 3, 3)), "NaN array": np.full((2, 3), np.nan), "texts": np.array(["a", "b"])},
}
PICTURE = np.zeros((64, 64, 3), np.uint8)
POINTS = np.zeros((2, 3, 2), np.float32)
STUDENT = Path(__file__).parents[1] / "models" / "students" / "student_w300_tiny.tflite"
#: argument -> other words for it in messages
WORDS = {
    "images": ("image", "images"),
    "image": ("image",),
    "source": ("photograph", "image", "cannot be read"),
    "boxes": ("box",),
    "name": ("detector", "method", "register", "architecture", "dataset", "network"),
    "model": ("detector model", "finder", "card"),
    "min_score": ("--min-score",),
    "smallest": ("--smallest",),
    "function": ("teacher",),
    "teachers": ("teacher", "answers"),
    "cls": ("register",),
    "methods": ("method",),
    "answers": ("teacher's answers",),
    "dataset": ("dataset", "images", "batch"),
    "image_range": ("black",),
    "image_size": ("pixels", "px"),
    "path": ("weights", "card", "network"),
    "student": ("network",),
    "teacher": ("teacher", "no such weights"),
    "size": ("images",),
    "taps": ("tap",),
    "names": ("taps", "names", "a name"),
    **dict.fromkeys(("half", "edges", "pairs", "parts", "normalisers", "official"), ("scheme 'cat'",)),
}


def accepts(function, keywords, argument) -> None:
    """Call the function with every value for one argument."""
    for kind, value in VALUES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(**{**keywords, argument: value})
        except (UserError, TypeError, ValueError) as error:
            text = str(error)
            assert len(text.splitlines()) == 1, (argument, kind, text)
            assert len(text) < 600, (argument, kind, text)
            words = (argument, argument.replace("_", " "), argument.replace("_", "-"), *WORDS.get(argument, ()))
            assert any(word in text for word in words), (argument, kind, text)
        except Exception as error:
            pytest.fail(f"{argument} = {kind}: {type(error).__name__}: {error}")


def check(function, /, **keywords) -> None:
    for argument in keywords:
        accepts(function, keywords, argument)


def defaults_of(function, /, **given):
    """The arguments of a function with their defaults, and the given ones."""
    parameters = inspect.signature(function).parameters.values()
    usual = {p.name: p.default for p in parameters if p.default is not p.empty and p.kind is not p.VAR_KEYWORD}
    return {**usual, **given}


@pytest.fixture(scope="module")
def predictor():
    return kd_loss.LandmarkPredictor.load(STUDENT)


def model():
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, keras.layers.Dense(6)(keras.layers.GlobalAveragePooling2D()(inputs)))


def test_predictors(predictor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def nothing(_image):
        return []

    check(predictor.predict_crop, image=PICTURE, box=None)
    check(predictor.predict_many, images=[PICTURE], boxes=None)
    check(predictor.detect, image=PICTURE, detector=nothing, refine=1)
    check(predictor.detect_many, images=[PICTURE], detector=nothing, refine=1)
    check(lambda source: predictor(source), source=PICTURE)
    check(kd_loss.LandmarkPredictor, network=predictor.network, detector="finder", refine=1)
    check(kd_loss.FaceTracker(predictor, nothing), image=PICTURE, time=None)
    settings = defaults_of(kd_loss.FaceTracker, predictor=predictor, detector=nothing)
    check(kd_loss.FaceTracker, **settings)


def test_a_detector_of_ones_own_that_returns_something_else(predictor):
    for found in (None, 3, "face", [None], [(0, 0, 9, 9)], np.zeros((1, 4))):
        with pytest.raises(UserError, match="the detector returned"):
            predictor.detect(PICTURE, lambda image, found=found: found)


def test_loading(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(kd_loss.load_network, path="none.h5")
    check(kd_loss.open_dataset, name="w300", data="data")
    check(kd_loss.open_detector, **defaults_of(kd_loss.open_detector, name="finder"))
    check(kd_loss.LandmarkPredictor.load, **defaults_of(kd_loss.LandmarkPredictor.load, path=STUDENT))


def test_values():
    scheme = kd_loss.LandmarkScheme("cat", 3)
    check(kd_loss.FaceLandmarks, landmarks=POINTS[0], crop_box=(0, 0, 1, 1), scheme=scheme)
    check(kd_loss.Detection, box=(0, 0, 1, 1), score=0.5)
    check(kd_loss.BoxCalibration, x=0.0, y=0.0, side=1.0, faces=0)
    check(kd_loss.LandmarkScheme, **defaults_of(kd_loss.LandmarkScheme, name="cat", points=3, parts={}, normalisers={}))
    check(kd_loss.Answers, taps={"landmarks": np.zeros((1, 2, 3, 2))})
    face = kd_loss.FaceLandmarks(POINTS[0], (0, 0, 1, 1), scheme)
    check(face.draw, image=PICTURE, pose=False)
    assert repr(face).startswith("FaceLandmarks(3 landmarks of cat")
    with pytest.raises(UserError, match=r"landmarks is an array \(2, 3, 2\) float32; an array \(K, 2\)"):
        kd_loss.FaceLandmarks(POINTS, (0, 0, 1, 1), scheme)


def test_methods_and_registries():
    check(kd_loss.get_method, name="kd_loss", parameters={})
    check(kd_loss.register, name="mine")
    check(lambda cls: kd_loss.register("mine")(cls), cls=None)
    check(lambda name: kd_loss.register_architecture(name), name="mine_")
    check(kd_loss.register_head, name="mine", cut="P4")
    for decorator in (kd_loss.register_head("zz"), kd_loss.register_architecture("zz")):
        for value in (None, 3, "f", POINTS):
            with pytest.raises(UserError, match="what stands below @register_"):
                decorator(value)
    for name in kd_loss.methods.__all__:
        cls = getattr(kd_loss.methods, name)
        if inspect.isclass(cls):
            check(cls, **defaults_of(cls))


def test_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(
        kd_loss.Distiller, **defaults_of(kd_loss.Distiller, student=model(), methods=[kd_loss.methods.NoDistillation()])
    )
    check(kd_loss.LiveTeacher, **defaults_of(kd_loss.LiveTeacher, network=model()))
    settings = defaults_of(kd_loss.FunctionTeacher, function=lambda images: np.zeros((len(images), 3, 2)), size=32)
    check(kd_loss.FunctionTeacher, **settings)
    answers = kd_loss.Answers({"landmarks": np.zeros((1, 2, 3, 2))})
    check(kd_loss.RecordedTeacher, answers=answers, network=None, weight=1.0)
    arrays = (np.zeros((2, 32, 32, 3), np.uint8), POINTS)
    check(kd_loss.with_answers, dataset=arrays, answers={"tough": answers})
    settings = defaults_of(kd_loss.record, teacher=model(), dataset=arrays, folder=tmp_path / "answers")
    check(kd_loss.record, **settings)


#: tensors (B, h, w, C) among the arguments of losses
MAPS = ("features", "teacher_features", "heatmaps", "teacher_heatmaps", "student")


@pytest.mark.parametrize("name", kd_loss.losses.__all__)
def test_losses(name):
    function = getattr(kd_loss.losses, name)
    parameters = inspect.signature(function).parameters.values()
    tensors = [p.name for p in parameters if str(p.annotation).startswith("Tensor")]
    others = {p.name: 0.5 for p in parameters if p.default is p.empty and p.name not in tensors}
    for argument in tensors:
        for kind, value in VALUES.items():
            message = ""
            maps = np.zeros((2, 4, 4, 3), np.float32)
            base = {t: maps if t in MAPS or (t, "student" in tensors) == ("teacher", True) else POINTS for t in tensors}
            try:
                function(**{**base, **others, argument: value})
            except (UserError, TypeError) as error:
                message = str(error)
            except Exception as error:
                pytest.fail(f"{name}({argument} = {kind}): {type(error).__name__}: {error}")
            assert len(message.splitlines()) < 2, (argument, kind, message)
            assert not message or argument in message, (argument, kind, message)


@pytest.mark.parametrize("name", [name for name in kd_loss.__all__ if name.endswith("Options")])
def test_options(name):
    cls = getattr(kd_loss, name)
    check(cls, **defaults_of(cls))


@pytest.mark.parametrize(
    "name", [n for n in kd_loss.__all__ if getattr(getattr(kd_loss, n), "__module__", "") == "kd_loss.api"]
)
def test_commands_refuse_what_is_no_options_object(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(kd_loss, name)
    for value in (b"ab", 7, 1.5, float("nan"), [None], object(), "a\0b", PICTURE):
        with pytest.raises(UserError) as caught:
            function(value)
        assert len(str(caught.value).splitlines()) == 1
    for config in (None, b"ab", 7, [], object(), "a\0b"):
        with pytest.raises(UserError, match="config"):
            function(config=config)


def test_values_are_shown_on_one_line():
    class Strange:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(POINTS) == "an array (2, 3, 2) float32"
    assert shown(Strange()) == "a Strange"
    assert shown("a\nb") == "'a\\nb'"
    assert shown(10**5000) == "a int"
