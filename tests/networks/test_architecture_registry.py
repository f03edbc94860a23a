"""Architectures of one's own, in a plugin and by the decorator; presets of a KerasHub that is made up."""

import sys
import types

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss.networks import ARCHITECTURES, Card, build_network, load_network, save_network
from kd_loss.networks.architecture_registry import check_architecture
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.training.method_specs import load_plugins

L = keras.layers
PLUGIN = """
import keras
import kd_loss

@kd_loss.register_architecture("mine")
def mine(inputs, alpha=1.0):
    x = inputs
    for channels in (8, 8, 12, 16, 16):
        x = keras.layers.Conv2D(round(channels * alpha), 3, 2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    return x
"""
OWN_LAYER = """
import keras
import kd_loss

@keras.saving.register_keras_serializable("of-a-plugin")
class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2

@kd_loss.register_architecture("halved")
def halved(inputs):
    return Halved()(keras.layers.Conv2D(8, 4, 4)(inputs))
"""


@pytest.fixture(autouse=True)
def restored():
    known = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(known)
    for name in [name for name in sys.modules if name.startswith("kd_loss_plugin_arch")]:
        del sys.modules[name]


def card(arch, **more):
    return Card(arch, more.pop("alpha", 1.0), "w300", W300.to_dict(), 32, "student", 0.15, **more)


def plugin(folder, text, name="arch_mine.py"):
    (folder / name).write_text(text)
    load_plugins([str(folder / name)])


def test_ten_lines_of_a_plugin(tmp_path):
    plugin(tmp_path, PLUGIN)
    # 9 (3·8 + 8·8 + 8·12 + 12·16 + 16·16) of the convolutions, 4 (8 + 8 + 12 + 16 + 16) of the normalisations
    assert check_architecture("MINE", 32) == (
        "--arch mine: 5,928 parameters; P2 8² x 8, P3 4² x 12, P4 2² x 16, P5 1² x 16"
    )
    network = build_network(card("mine", alpha=0.5, head="heatmap", cut="P4"))
    save_network(network, tmp_path / "net.h5")
    del ARCHITECTURES["mine"]  # of Keras's own layers, it loads without its architecture
    assert load_network(tmp_path / "net.h5").taps == network.taps
    with pytest.raises(UserError, match="unknown architecture 'mine'"):
        build_network(card("mine"))


def test_a_file_with_custom_layers_names_what_is_missing(tmp_path):
    plugin(tmp_path, OWN_LAYER, "arch_halved.py")
    assert "P2 8² x 8" in check_architecture("halved", 32)
    save_network(build_network(card("halved")), tmp_path / "net.h5")
    load_network(tmp_path / "net.h5")
    keras.saving.get_custom_objects().pop("of-a-plugin>Halved")
    del ARCHITECTURES["halved"]
    with pytest.raises(UserError, match="architecture halved is not known here: give the --plugin FILE that registers"):
        load_network(tmp_path / "net.h5")


def ready(inputs):  # noqa: ARG001
    """A model on an input of its own, with a `+` in it."""
    entry = keras.Input((None, None, 3))
    x = L.Conv2D(4, 4, 4)(entry)
    return keras.Model(entry, L.ReLU()(x) + x)


def stages(inputs):
    fine = L.Conv2D(4, 4, 4)(inputs)
    return {"P2": fine, "P3": L.Conv2D(6, 2, 2)(L.ReLU()(fine))}


@pytest.mark.parametrize(("function", "words"), [(ready, "P2 8² x 4"), (stages, "P2 8² x 4, P3 4² x 6")])
def test_models_and_dictionaries(function, words):
    kd_loss.register_architecture("arch", scaling=(1 / 255, 0.0))(function)
    assert check_architecture("arch", 32).endswith(words)
    network = build_network(card("arch"))
    assert network.model.get_layer("input_scaling").scale == pytest.approx(1 / 255)
    pictures = np.full((1, 32, 32, 3), 255, np.float32)
    seen = keras.Model(network.model.input, network.model.get_layer("input_scaling").output)(pictures)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(seen), 1, rtol=1e-6)


class Stuck(L.Layer):
    def call(self, x):
        return keras.ops.stop_gradient(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inputs: 3, "returns int .*it has to return a feature map"),
        (lambda inputs: L.GlobalAveragePooling2D()(inputs), "returns KerasTensor .*it has to return a feature map"),
        (lambda inputs: L.Conv2D(4, 3, 2)(inputs), "no feature map 4, 8, 16 or 32 times smaller than its 32 px"),
        (lambda inputs: {"P3": L.Conv2D(4, 4, 4)(inputs)}, "P3 is 8 x 8 for 32 px, 4 times smaller instead of 8"),
        (lambda inputs: {"P7": inputs}, "unknown feature map of --arch arch 'P7'"),
        (lambda inputs: 1 / 0, "--arch arch, line .*ZeroDivisionError: division by zero"),
        (lambda inputs: L.AveragePooling2D(4)(inputs), "has no weights to train"),
        (lambda inputs: Stuck()(L.Conv2D(4, 4, 4)(inputs)), "cannot be saved and loaded .*register_keras_serializable"),
        (
            lambda inputs: L.Rescaling(0.0)(L.Conv2D(4, 4, 4, name="first")(inputs)),
            "no gradient reaches first, its first layer",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(function, message):
    kd_loss.register_architecture("arch")(function)
    with pytest.raises(UserError, match=message):
        check_architecture("arch", 32)


def test_names_and_weights_that_cannot_be_meant():
    with pytest.raises(UserError, match="'resnet50' is a built-in architecture"):
        kd_loss.register_architecture("resnet50")
    with pytest.raises(UserError, match="'my net' cannot name an architecture"):
        kd_loss.register_architecture("my net")
    kd_loss.register_architecture("arch")(stages)
    with pytest.raises(UserError, match="there are no pretrained weights of arch"):
        build_network(card("arch"), pretrained="imagenet")
    with pytest.raises(UserError, match="arch has no width multiplier"):
        build_network(card("arch", alpha=0.5))
    with pytest.raises(UserError, match="has no feature map at P4, only at P2, P3, P5"):
        build_network(card("arch", head="heatmap", cut="P4"))


def test_a_preset_of_kerashub(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match="needs KerasHub, which does not import .*: pip install keras-hub"):
        build_network(card("kerashub:small"))

    class Backbone:
        @staticmethod
        def from_preset(preset, load_weights, image_shape):
            if preset != "small":
                raise ValueError("Unknown preset identifier.\nA list follows")
            entry = keras.Input(image_shape)
            start = "ones" if load_weights else "zeros"
            return keras.Model(entry, L.Conv2D(4, 4, 4, kernel_initializer=start, name="patches")(entry))

    hub = types.ModuleType("keras_hub")
    hub.models = types.SimpleNamespace(Backbone=Backbone)
    converter = types.SimpleNamespace(scale=[0.1, 0.2, 0.3], offset=-1.0)
    hub.layers = types.SimpleNamespace(ImageConverter=types.SimpleNamespace(from_preset=lambda preset: converter))
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    network = build_network(card("KerasHub:small"), pretrained="preset")
    assert network.card.arch == "kerashub:small"
    assert network.model.get_layer("patches").get_weights()[0].min() == 1
    assert network.model.get_layer("input_scaling").scale == [0.1, 0.2, 0.3]
    save_network(network, tmp_path / "net.h5")
    assert load_network(tmp_path / "net.h5").taps == ("landmarks", "embedding", "P2")
    with pytest.raises(UserError, match="kerashub:large: KerasHub has no such image backbone: Unknown preset"):
        build_network(card("kerashub:large"))
    with pytest.raises(UserError, match="has no imagenet weights; give --pretrained preset"):
        build_network(card("kerashub:small"), pretrained="imagenet")
    with pytest.raises(UserError, match="needs a preset"):
        build_network(card("kerashub:"))
