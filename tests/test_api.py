"""The package from Python: lazy names, every command as a function, and the examples of docs/python.md."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import kd_loss
from kd_loss import api
from kd_loss.cli import COMMANDS, resolve
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.errors import UserError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def in_a_new_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_import_is_light():
    code = (
        "import sys; import kd_loss\n"
        "assert not {'numpy', 'cv2', 'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "assert 'LandmarkPredictor' in dir(kd_loss)\n"
        "print(*sorted(name for name in sys.modules if name.startswith('kd_loss.')))"
    )
    assert in_a_new_process(code).stdout.split() == ["kd_loss.system", "kd_loss.system.versions"]


def test_a_predictor_needs_no_keras_and_prints_nothing(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((100, 120, 3), 90, np.uint8))
    code = (
        "import sys, kd_loss\n"
        f"assert kd_loss.LandmarkPredictor.load()({str(tmp_path / 'photo.png')!r}) == []\n"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    done = in_a_new_process(code)
    assert (done.stdout, done.stderr) == ("", "")


def test_every_name_is_there():
    assert kd_loss.__all__ == sorted(kd_loss._EXPORTS, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in kd_loss.__all__:
        assert getattr(kd_loss, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Predictor'"):
        kd_loss.Predictor  # noqa: B018


def test_every_command_is_a_function_with_its_options():
    functions = {name: getattr(api, name) for name, module in kd_loss._EXPORTS.items() if module == "kd_loss.api"}
    assert len(functions) == len(COMMANDS)
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", PAGE, flags=re.MULTILINE))
    assert sorted(rows) == sorted(functions)
    assert set(rows.values()) == set(COMMANDS)
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters
        for field in dataclasses.fields(resolve(COMMANDS[rows[name]].options)):
            assert field.name in parameters
            assert field.metadata["help"] in function.__doc__


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.train_student(epoch=3), "train_student has no option 'epoch': did you mean 'epochs'?"),
        (lambda: api.train_student(epochs="3"), "train_student: epochs = '3' is not a whole number"),
        (lambda: api.train_student(epochs=2.5), "train_student: epochs = 2.5 is not a whole number"),
        (lambda: api.predict("a.jpg", "b.jpg"), "predict takes several sources as one list"),
        (lambda: api.predict("nowhere.jpg"), "no such image or video: nowhere.jpg"),
        (lambda: api.export_network("a.h5", weights="b.h5"), "takes its options by name"),
        (lambda: api.show("w300"), "show takes its options by name, e.g. show(dataset=…), or one ShowOptions"),
        (lambda: api.show(kd_loss.StudentOptions()), "show takes ShowOptions, not StudentOptions"),
        (lambda: api.show(kd_loss.ShowOptions(), count=3), "show takes ShowOptions(…) or keywords, not both (count)"),
        (lambda: api.show(kd_loss.ShowOptions(config="a.toml")), "give show(config=…) as a keyword"),
        (lambda: kd_loss.ShowOptions(cuont=3), "ShowOptions has no option 'cuont': did you mean 'count'?"),
        (lambda: kd_loss.ShowOptions(count="3"), "ShowOptions: count = '3' is not a whole number"),
        (lambda: kd_loss.ShowOptions("w300"), "ShowOptions takes its options by name"),
    ],
)
def test_what_is_wrong_is_one_line(call, message):
    with pytest.raises(UserError) as raised:
        call()
    assert message in str(raised.value)


def test_options_may_be_an_object(tmp_path):
    """The same run as by keywords: paths as text and numbers of NumPy are taken by the object, too."""
    options = kd_loss.PrepareOptions(dataset="synthetic", count=np.int64(8), size=32, data=str(tmp_path / "a"))
    assert (options.data, type(options.count)) == (tmp_path / "a", int)
    by_keywords = api.prepare(dataset="synthetic", count=8, size=32, data=tmp_path / "b")
    assert api.prepare(options)["counts"] == by_keywords["counts"]
    for name in ("images", "landmarks"):
        one, other = (np.load(tmp_path / root / "synthetic" / "train" / f"{name}.npy") for root in "ab")
        np.testing.assert_array_equal(one, other)


def test_values_as_python_has_them(tmp_path):
    manifest = api.prepare(
        dataset="synthetic", count=np.int64(8), size=32, data=str(tmp_path), margin=np.float32(0.25), border=1
    )
    assert manifest["counts"] == {"train": {"train": 8}, "test": {"test": 2}}
    assert manifest["crop"] == {"rule": "square around the landmark box", "margin": 0.25, "border": 32}


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path, monkeypatch):
    """One after the other, as on the page; the backbone is a smaller one, for speed."""
    monkeypatch.chdir(tmp_path)
    face = draw_face(320, 0, 1)
    cv2.imwrite("photo.jpg", np.ascontiguousarray(face[..., ::-1]))
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(code.replace('"mobileNetV2"', '"tiny"'), "docs/python.md", "exec"), names)
    assert len(names["first"]) == len(names["second"]) == 1
    np.testing.assert_allclose(names["first"][0].landmarks, names["faces"][0].landmarks, atol=1e-3)
    assert names["drawn"].shape == face.shape
    assert len(names["haar"](face)) <= 1
    assert names["face"].landmarks.shape == (68, 2)
    assert names["student"].name == "student-kd_loss"
    assert [row["precision"] for row in names["rows"]][1:] == ["fp32"]
    assert names["metrics"]["networks"][0]["scores"]["box"]["full"]["nme"] > 0
