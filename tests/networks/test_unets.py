"""The hourglass and Squeeze U-Net: published sizes, and their place in the registry."""

import keras
import numpy as np
import pytest

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.flops import multiply_adds
from kd_loss.networks.unets import anti_alias, hourglass, squeeze_unet
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def card(arch, size=64, **more):
    return Card(arch, more.pop("alpha", 1.0), "w300", W300.to_dict(), size, "student", 0.15, head="heatmap", **more)


def test_hourglass_has_the_published_size():
    """14.13 million parameters; 988.5 million multiply-adds, the smoothing apart (13 × 13 × 3 × 64²)."""
    model = hourglass(keras.Input((256, 256, 3)))
    assert model.output_shape == (None, 64, 64, 35)
    assert model.get_layer("encoder").output.shape == (None, 2, 2, 1024)
    assert trained(model) == 14_129_568
    assert multiply_adds(model) - 13 * 13 * 3 * 64 * 64 == 988_545_024


def test_squeeze_unet_has_the_published_size():
    model = squeeze_unet(keras.Input((256, 256, 3)))
    assert model.output_shape == (None, 64, 64, 35)
    assert model.get_layer("encoder").output.shape == (None, 4, 4, 512)
    assert trained(model) == 2_511_155
    normalised = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert trained(model) - sum(2 * layer.gamma.shape[0] for layer in normalised) == 2_504_371


def test_width_divides_the_channels():
    assert hourglass(keras.Input((64, 64, 3)), alpha=0.25).output_shape == (None, 64, 64, 8 + 3)
    assert trained(squeeze_unet(keras.Input((64, 64, 3)), alpha=0.5)) < 2_511_155 / 3


def test_anti_aliasing_keeps_a_uniform_picture_and_removes_a_fine_grating():
    entry = keras.Input((256, 256, 3))
    model = keras.Model(entry, anti_alias(entry, 4))
    [kernel] = model.get_layer("anti_alias").get_weights()
    assert kernel.shape == (13, 13, 3, 1)
    assert kernel[6, 6, 0, 0] / kernel[6, 9, 0, 0] == pytest.approx(np.exp(9 / (2 * 1.5**2)), rel=1e-5)
    grating = np.broadcast_to((np.arange(256) % 2)[None, :, None], (1, 256, 256, 3)).astype(np.float32)
    inside = model.predict(np.concatenate([np.ones_like(grating), grating]), verbose=0)[:, 2:-2, 2:-2]
    assert inside[0] == pytest.approx(1, abs=1e-5)
    assert inside[1] == pytest.approx(0.5, abs=1e-4)


def test_sizes_that_cannot_be_halved_are_one_line():
    with pytest.raises(UserError, match="hourglass halves its 112 pixels 5 times; give --size 64, 128 or 256"):
        hourglass(keras.Input((112, 112, 3)))
    with pytest.raises(UserError, match="squeeze_unet halves"):
        squeeze_unet(keras.Input((72, 72, 3)))


@pytest.mark.parametrize("arch", ["hourglass", "squeezeUNet"])
def test_as_a_landmark_network(arch, tmp_path):
    """Landmarks by the soft-argmax of their own maps; the file loads in plain Keras; the cut is the whole."""
    network = build_network(card(arch, alpha=0.25, cut="P4"))
    assert network.card.cut == "P5"
    assert network.tap_model(["heatmaps"]).output["heatmaps"].shape == (None, 64, 64, 68)
    faces = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    save_network(network, tmp_path / "net.h5")
    plain = keras.models.load_model(tmp_path / "net.h5", compile=False)
    landmarks = network.model.predict(faces, verbose=0)
    assert landmarks.shape == (2, 68, 2)
    assert plain.predict(faces, verbose=0) == pytest.approx(landmarks, abs=1e-6)
    assert load_network(tmp_path / "net.h5").export_model().output[1].shape == (None, 68)


def test_what_they_have_not_is_one_line():
    with pytest.raises(UserError, match="squeezeUNet outputs maps, which a pooled head would discard"):
        build_network(Card("squeezeUNet", 1.0, "w300", W300.to_dict(), 64, "student", 0.15))
    with pytest.raises(UserError, match="no pretrained weights of hourglass"):
        build_network(card("hourglass"), pretrained="imagenet")
