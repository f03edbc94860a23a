"""Heads of one's own: registered, tried on one picture, trained; and every way in which one can be wrong."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import kd_loss
from kd_loss.networks import HEADS, Card, build_network, load_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.training.method_specs import load_plugins
from kd_loss.training.options import HEADS as NAMES
from kd_loss.training.options import StudentOptions
from kd_loss.training.train_student import train_student

CARD = Card("tiny", 1.0, "w300", W300.to_dict(), 32, "student", 0.15, "mine", "P4")
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_head.py"


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr("kd_loss.networks.head_registry.HEADS", HEADS)
    known = dict(HEADS)
    yield
    HEADS.clear()
    HEADS.update(known)


def points(inputs, x):
    x = keras.layers.Dense(inputs.shape[0] * 2, dtype="float32")(keras.layers.Flatten()(x))
    return keras.layers.Reshape(inputs.shape, dtype="float32")(x)


def test_the_options_name_the_heads_that_there_are():
    assert {name for name, head in HEADS.items() if not head.own} == set(NAMES)
    assert {name: HEADS[name].cut for name in NAMES} == {"heatmap": "P4", "pooled": "P5", "simcc": "P4", "pip": "P4"}


def test_the_example_trains_and_its_file_loads_without_it(data_folder, tmp_path, caplog):
    caplog.set_level("INFO", "kd_loss")
    options = StudentOptions(
        **{"dataset": "synthetic", "data": data_folder, "runs": tmp_path, "size": 32, "epochs": 1, "batch_size": 8},
        **{"arch": "tiny", "method": ["none"], "workers": 1, "plugin": [str(EXAMPLE)], "head": "Corners"},
    )
    folder = train_student(options)
    assert "student tiny, corners head" in caplog.text
    HEADS.pop("corners")
    network = load_network(folder / "best.h5")
    assert (network.card.head, network.card.cut) == ("corners", "P4")
    assert network.export_model() is network.model
    assert network.model.predict(np.zeros((1, 32, 32, 3)), verbose=0).shape == (1, 68, 2)


def test_a_valid_head_keeps_its_weights_and_its_taps():
    @kd_loss.register_head("mine", cut="P5")
    def mine(inputs):
        hidden = keras.layers.Dropout(0.5, seed=1, name="kept")(inputs.features)
        return {"landmarks": points(inputs, hidden), "hidden": hidden}

    assert HEADS["mine"].cut == "P5"
    network, again = (build_network(CARD, seed=3) for _ in range(2))
    assert network.taps == ("landmarks", "embedding", "hidden", "P2", "P3", "P4")
    assert network.channels("hidden") == 48
    for a, b in zip(network.model.variables, again.model.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert build_network(CARD).model.output.dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


class Foreign(keras.layers.Layer):
    """A layer that is not Keras's own."""

    def call(self, x):
        return x * 1.0


def raises(inputs):
    return keras.layers.Dense("many")(inputs.features)


def aside(inputs):
    return {"landmarks": points(inputs, inputs.features), "other": keras.layers.Flatten()(inputs.features)}


WRONG = {
    r"fails in build \(test_own_head.py, line \d+\): \w+: ": raises,
    "returns no tensor as 'landmarks'; expected landmarks .B, N, C.": lambda inputs: None,
    "returns taps without 'landmarks': points": lambda inputs: {"points": points(inputs, inputs.features)},
    r"returns \(B, 136\); expected landmarks \(B, 68, 2\)": lambda inputs: keras.layers.Flatten()(
        points(inputs, inputs.features)
    ),
    "does not use the end of the backbone: build it from inputs.features": lambda inputs: points(
        inputs, inputs.maps["P3"]
    ),
    "computes 'other' off the path to its landmarks; such outputs are not saved": aside,
    "numbers that are not finite": lambda inputs: keras.layers.Rescaling(np.inf)(points(inputs, inputs.features)),
    "passes no gradient to the backbone": lambda inputs: points(inputs, keras.layers.Rescaling(0.0)(inputs.features)),
    r"a layer that is not from Keras .Foreign.": lambda inputs: Foreign()(points(inputs, inputs.features)),
    "writes a file that does not load: .*Lambda": lambda inputs: keras.layers.Lambda(lambda x: x * 1.0)(
        points(inputs, inputs.features)
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_head_that_is_wrong_is_one_line(message):
    kd_loss.register_head("mine")(WRONG[message])
    with pytest.raises(UserError, match=f"the head mine .*{message}" if "fails" not in message else message) as error:
        build_network(CARD)
    assert "\n" not in str(error.value)


def test_names_are_given_once():
    with pytest.raises(UserError, match="raises cannot be registered as the head 'pooled': pooled_head is"):
        kd_loss.register_head("pooled")(raises)
    with pytest.raises(UserError, match="the head mine cannot be cut at 'P6': P3, P4, P5"):
        kd_loss.register_head("mine", cut="P6")
    kd_loss.register_head("mine")(raises)
    kd_loss.register_head("mine")(raises)  # the same file once more


def test_an_unknown_head_names_the_way_to_register_one(data_folder):
    with pytest.raises(UserError, match="unknown head 'corner.*one of your own is known by --plugin FILE"):
        train_student(StudentOptions(dataset="synthetic", data=data_folder, method=["none"], head="corner"))
    with pytest.raises(UserError, match="unknown head 'mine'"):
        build_network(dataclasses.replace(CARD))
    load_plugins([str(EXAMPLE)])
