"""Dynamic convolutions against static ones with the mean kernel, and MobileNetV2 with them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.dynamic import EXPERTS, DynamicConv2D, dynamic_mobilenet_v2
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("size", "strides"), [(3, 2), (3, 1), (1, 2), (1, 1)])
def test_a_dynamic_convolution_is_that_of_the_mean_kernel(size, strides):
    layer = DynamicConv2D(3, size, strides, experts=2)
    x = RNG.normal(size=(2, 6, 6, 5)).astype("float32")
    alpha = np.array([[0.25, 0.75], [1.0, 0.0]], "float32")
    found = ops.convert_to_numpy(layer([x, alpha]))
    kernels = np.split(layer.get_weights()[0], 2, axis=-1)
    for row in range(2):
        kernel = alpha[row, 0] * kernels[0] + alpha[row, 1] * kernels[1]
        wanted = ops.convert_to_numpy(ops.conv(x[row : row + 1], kernel, strides, "same"))
        np.testing.assert_allclose(found[row : row + 1], wanted, atol=1e-5)
    assert DynamicConv2D.from_config(layer.get_config()).strides == strides


def test_groups_see_their_own_channels():
    layer = DynamicConv2D(2, 1, experts=2, groups=2)
    x = RNG.normal(size=(1, 4, 4, 6)).astype("float32")
    alpha = np.array([[1.0, 0.0, 0.0, 1.0]], "float32")
    found = ops.convert_to_numpy(layer([x, alpha]))
    first, second, joined = layer.get_weights()
    parts = [x[..., :3] @ first[0, 0, :, :2], x[..., 3:] @ second[0, 0, :, 2:]]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=-1) @ joined[0, 0], atol=1e-5)


def test_mobilenet_with_dynamic_convolutions_is_saved_and_loaded(tmp_path):
    given = Card("dynamicMobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15, "heatmap", "P4")
    network = build_network(given)
    dynamic = {layer.name: layer for layer in network.model.layers if isinstance(layer, DynamicConv2D)}
    # the network ends at block 12, the last of stride 16; block 3 is the first of stride 8
    assert {int(name.split("_")[1]) for name in dynamic} == set(range(3, 13))
    assert all(layer.experts == EXPERTS for layer in dynamic.values())
    kernel = dynamic["block_4_expand"].get_weights()[0]
    static = build_network(Card("mobileNetV2", *list(vars(given).values())[1:9])).model.get_layer("block_4_expand")
    assert kernel.shape[-1] == EXPERTS * static.get_weights()[0].shape[-1]
    # a block's expansion: the mean of 4 experts' kernels, then one product on 4 × 4 cells
    channels, wide = kernel.shape[2], kernel.shape[3] // EXPERTS
    assert dynamic["block_4_expand"].multiply_adds() == channels * wide * (EXPERTS + 4 * 4)
    pictures = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    save_network(network, tmp_path / "net.h5")
    again = load_network(tmp_path / "net.h5")
    np.testing.assert_allclose(
        again.model.predict(pictures, verbose=0), network.model.predict(pictures, verbose=0), atol=1e-6
    )


def test_there_are_no_weights_for_it():
    with pytest.raises(UserError, match="without published weights"):
        dynamic_mobilenet_v2(keras.Input((32, 32, 3)), weights="imagenet")
