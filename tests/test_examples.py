"""Every file of `examples/` runs, does what its text says, and is a page of the site."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def example(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_is_a_page_that_has_the_code():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= 7
    for name in EXAMPLES:
        page = (ROOT / "docs" / "examples" / f"{name}.md").read_text(encoding="utf-8")
        assert f'--8<-- "examples/{name}.py"' in page
        assert f"examples/{name}.md" in menu


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a loop of TensorFlow's")
def test_own_loop():
    losses = example("own_loop").main()
    assert len(losses) == 16
    assert losses[-1] < losses[0]


def test_own_tf_data():
    history = example("own_tf_data").main()
    assert {"kd_loss.main", "attention.transfer", "val_nme"} <= history.keys()
    assert history["loss"][-1] < history["loss"][0]


def test_pytorch_teacher():
    pytest.importorskip("torch")
    history = example("pytorch_teacher").main()
    assert history["imitation"][-1] < history["imitation"][0]


def test_kerashub_backbone(capsys):
    history = example("kerashub_backbone").main()
    if importlib.util.find_spec("keras_hub") is None:
        assert history is None
        assert capsys.readouterr().out == "KerasHub is not installed: pip install keras-hub\n"
    else:
        assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("own_backbone", "mine: 92,948 parameters"),
        ("own_head", "student-none: taps landmarks, embedding"),
        ("own_annotations", "NME of "),
    ],
)
def test_those_that_train_by_command(name, last):
    """As a user runs them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(last)
