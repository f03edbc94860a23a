"""Networks of `keras.applications`: what Keras says of them is what is built."""

import keras
import numpy as np
import pytest

from kd_loss.networks import ARCHITECTURES, Card, LandmarkNet, build_network, load_network, save_network
from kd_loss.networks.applications import applications, preparation
from kd_loss.networks.backbones import arch_name, build_backbone
from kd_loss.networks.graft import graft
from kd_loss.networks.input_scaling import input_scaling, set_input_scaling
from kd_loss.networks.landmark_net import take_weights
from kd_loss.networks.stages import stage_outputs
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

PICTURES = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


def card(arch, **more):
    return Card(arch, 1.0, "w300", W300.to_dict(), 64, "student", 0.15, **more)


def test_all_of_them_are_known_in_any_case():
    assert len(applications()) >= 38
    for given, name in (
        *(("resnet50v2", "ResNet50V2"), ("nasnetmobile", "NASNetMobile"), ("MOBILENETV2", "mobileNetV2")),
        *(("EfficientNetB0", "efficientNetB0"), ("KerasHub:a/B", "kerashub:a/B")),
    ):
        assert arch_name(given) == name
    assert len({name.lower() for name in ARCHITECTURES}) == len(ARCHITECTURES)
    with pytest.raises(
        UserError, match="unknown architecture 'resnet51': did you mean 'ResNet50.*by --plugin"
    ) as error:
        arch_name("resnet51")
    assert len(str(error.value)) < 300


def test_how_pixels_are_prepared():
    scaling, swapped = preparation(keras.applications.vgg16.preprocess_input)
    assert (scaling, swapped) == ((1.0, (-123.68, -116.779, -103.939)), True)
    scaling, swapped = preparation(keras.applications.densenet.preprocess_input)
    np.testing.assert_allclose(scaling[0], 1 / (255 * np.array([0.229, 0.224, 0.225])))
    assert not swapped
    assert preparation(keras.applications.mobilenet_v3.preprocess_input) == (None, False)
    with pytest.raises(ValueError, match="not a scale and an offset per channel"):
        preparation(lambda x: x @ np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1.0]]))


@pytest.mark.parametrize(("arch", "module"), [("VGG16", "vgg16"), ("MobileNet", "mobilenet")])
def test_trained_weights_see_what_they_were_trained_on(arch, module, tmp_path, monkeypatch):
    """A published network on pixels prepared by Keras, and ours with its weights on RGB 0…255: the same maps."""
    theirs = getattr(keras.applications, arch)(include_top=False, weights=None, input_shape=(64, 64, 3))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    monkeypatch.setattr(
        f"keras.src.applications.{module}.file_utils.get_file", lambda *_, **__: tmp_path / "theirs.weights.h5"
    )
    inputs = keras.Input((64, 64, 3))
    backbone = build_backbone(arch, inputs, 1.0, "imagenet")
    prepared = getattr(keras.applications, module).preprocess_input(PICTURES.copy())
    mine = keras.ops.convert_to_numpy(keras.Model(inputs, backbone.output)(PICTURES, training=False))
    np.testing.assert_allclose(mine, keras.ops.convert_to_numpy(theirs(prepared, training=False)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("head", ["heatmap", "pooled"])
def test_as_a_landmark_network(head, tmp_path):
    network = build_network(card("mobilenetv3small", head=head, cut="P3"))
    assert network.card.arch == "MobileNetV3Small"
    shapes = {tap: tuple(t.shape[1:]) for tap, t in network.tap_model(["P2", "P3"]).output.items()}
    assert shapes == {"P2": (16, 16, 72), "P3": (8, 8, 24)}
    save_network(network, tmp_path / "net.h5")
    again = load_network(tmp_path / "net.h5").model
    before = keras.ops.convert_to_numpy(network.model(PICTURES, training=False))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(PICTURES, training=False)), before)
    again.compile(keras.optimizers.SGD(0.1), loss="mse", jit_compile=False)
    again.train_on_batch(PICTURES, np.zeros((2, 68, 2)))
    first = again.get_layer("conv").get_weights()[0]
    assert np.abs(first - network.model.get_layer("conv").get_weights()[0]).max() > 0


def test_convnext_becomes_layers_that_a_file_can_hold(tmp_path):
    inputs = keras.Input((64, 64, 3), name="image")
    theirs = keras.src.applications.convnext.ConvNeXt(
        depths=[1, 1, 2, 1], projection_dims=[8, 12, 16, 24], include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    small = graft(theirs, inputs, "ConvNeXt")
    assert [tuple(op.output.shape[1:]) for op in stage_outputs(small).values()] == [
        *((16, 16, 8), (8, 8, 12), (4, 4, 16)),
        (2, 2, 24),
    ]
    assert all(isinstance(op, keras.layers.Add) for level, op in stage_outputs(small).items() if level != "P5")
    mine, expected = (keras.ops.convert_to_numpy(net(PICTURES, training=False)) for net in (small, theirs))
    np.testing.assert_allclose(mine, expected, atol=1e-5)
    assert [layer.name for layer in small.layers if getattr(layer, "groups", 1) > 1] == []
    # its normalisation of the pixels holds fixed numbers; another scaling is computed, and saved
    model = keras.Model(inputs, small.output)
    set_input_scaling(model, np.array([0.01, 0.02, 0.03]), np.array([-1, 0, 2.0]))
    model.save(tmp_path / "net.h5")
    again = keras.models.load_model(tmp_path / "net.h5", compile=False)
    np.testing.assert_allclose(input_scaling(again), [[0.01, 0.02, 0.03], [-1, 0, 2]], rtol=1e-5)
    np.testing.assert_allclose(again.predict(PICTURES, verbose=0), model.predict(PICTURES, verbose=0), atol=1e-6)


def test_what_is_too_large_to_be_loaded_again_is_one_line(monkeypatch):
    monkeypatch.setattr("kd_loss.networks.size_limits.MOST_BYTES", 1 << 20)
    with pytest.raises(UserError, match="MobileNet has 12 MiB of weights; the limit is 1 MiB"):
        build_backbone("mobilenet", keras.Input((64, 64, 3)), 1.0, "none")


def test_an_older_convnexts_grouped_convolutions_start_a_newer_one():
    def make(layer):
        x = inputs = keras.Input((8, 8, 3), name="image")
        x = keras.layers.GlobalAveragePooling2D(name="embedding")(layer(x))
        model = keras.Model(inputs, keras.layers.Reshape((68, 2))(keras.layers.Dense(136)(x)))
        return LandmarkNet(model, card("ConvNeXtTiny", taps={"embedding": "embedding", "landmarks": "reshape"}))

    old = make(keras.layers.Conv2D(3, 3, groups=3, name="deep"))
    new = make(keras.layers.DepthwiseConv2D(3, name="deep"))
    take_weights(new, old)
    np.testing.assert_array_equal(
        new.model.get_layer("deep").get_weights()[0][:, :, :, 0], old.model.get_layer("deep").get_weights()[0][:, :, 0]
    )
