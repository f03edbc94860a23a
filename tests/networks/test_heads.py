import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.heads import STRETCH, grid, soft_argmax, spread
from kd_loss.networks.landmark_net import take_weights
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.schemes.benchmarks import COFW, W300
from kd_loss.system.errors import UserError

CARD = Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 64, "student", 0.15, "heatmap", "P4")


def pictures(size=64, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


@pytest.fixture(scope="module")
def network():
    return build_network(CARD)


def test_the_grid_holds_the_centres_of_the_cells_stretched():
    np.testing.assert_allclose(grid(2, 2, 1.0), [[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]])
    # 28 cells: the outermost centre lies at 1.25 · (0.5 − 0.5 / 28), beyond the crop's border at 0.5
    assert grid(28, 28)[-1].tolist() == pytest.approx([1.25 * (0.5 - 0.5 / 28)] * 2)


def model_of(height, width, points):
    inputs = keras.Input((height, width, points))
    named = keras.layers.Activation("linear", name="decoder_heatmaps")(inputs)
    return keras.Model(inputs, soft_argmax(named))


def test_a_soft_argmax_finds_a_peak_and_its_spread():
    model = model_of(4, 6, 2)
    heatmaps = np.zeros((1, 4, 6, 2), np.float32)
    heatmaps[0, 1, 2, 0] = 50.0  # all mass in one cell
    heatmaps[0, 0, 0, 1] = heatmaps[0, 0, 4, 1] = 50.0  # half of it in each of two
    cell = STRETCH / 6
    places = grid(4, 6).reshape(4, 6, 2)
    landmarks = model.predict(heatmaps, verbose=0)
    np.testing.assert_allclose(landmarks[0], [places[1, 2], places[0, 2]], atol=1e-5)
    wide = keras.Model(model.input, spread(model)).predict(heatmaps, verbose=0)
    # two masses four cells apart: each two cells from their mean
    np.testing.assert_allclose(wide[0], [0, 2 * cell], atol=1e-3)


@pytest.mark.parametrize(("alpha", "cut", "millions"), [(1.0, "P4", 0.653), (0.5, "P4", 0.189), (1.0, "P5", 2.532)])
def test_the_number_of_parameters(alpha, cut, millions):
    network = build_network(dataclasses.replace(CARD, alpha=alpha, cut=cut, size=112))
    assert network.model.count_params() / 1e6 == pytest.approx(millions, abs=0.001)


def test_taps_and_their_shapes(network):
    out = network.tap_model(network.taps)(pictures())
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {
        **{"landmarks": (2, 68, 2), "heatmaps": (2, 16, 16, 68), "spread": (2, 68), "embedding": (2, 32)},
        **{"P2": (2, 16, 16, 48), "P3": (2, 8, 8, 96), "P4": (2, 4, 4, 32)},
    }
    assert network.card.taps["P4"] == "block_12_add"


def test_what_a_heatmap_head_has_not_is_one_line(network):
    with pytest.raises(UserError, match="with its heatmap head has no tap 'P5'; it has: landmarks"):
        network.tap_model(["P5"])
    with pytest.raises(UserError, match="heatmap head of mobileNetV2 is not a linear layer on the embedding"):
        network.head_weights()


@pytest.mark.parametrize("size", [36, 60, 100])
def test_sides_that_do_not_divide_by_32(size):
    network = build_network(dataclasses.replace(CARD, size=size))
    assert network.tap_model(["heatmaps"]).output["heatmaps"].shape[1:3] == (-(-size // 4),) * 2


def test_an_efficientnet_is_cut_too():
    network = build_network(dataclasses.replace(CARD, arch="efficientNetB0", alpha=1.0))
    assert network.card.taps["P4"] == "block5c_add"
    assert network.model.output_shape == (None, 68, 2)


def test_its_file_loads_in_plain_keras(network, tmp_path):
    path = tmp_path / "best.h5"
    save_network(network, path)
    np.testing.assert_array_equal(
        load_network(path).model.predict(pictures(), verbose=0), network.model.predict(pictures(), verbose=0)
    )
    code = (
        "import sys, keras; m = keras.models.load_model(sys.argv[1], compile=False); "
        "assert m.output_shape == (None, 68, 2); assert not any(n.startswith('kd_loss') for n in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def test_a_trunk_is_taken_across_heads_cuts_and_sizes(network):
    pooled = build_network(dataclasses.replace(CARD, head="pooled", cut="P5", size=48), seed=3)
    text = take_weights(pooled, network)
    assert "all but block_13_expand" in text
    for name in ("Conv1", "block_12_project"):
        np.testing.assert_array_equal(
            pooled.model.get_layer(name).get_weights()[0], network.model.get_layer(name).get_weights()[0]
        )
    # the decoder too where the schemes differ, but for the maps themselves
    other = build_network(dataclasses.replace(CARD, spec=COFW.to_dict(), dataset="cofw"), seed=4)
    text = take_weights(other, network)
    assert "all but decoder_heatmaps" in text
    with pytest.raises(UserError, match="is not the backbone"):
        take_weights(build_network(dataclasses.replace(CARD, alpha=0.5)), network)


def test_the_spread_comes_with_the_landmarks(network):
    landmarks, wide = CropNetwork.of(network).predict_with_spread(pictures().astype(np.uint8))
    assert landmarks.shape == (2, 68, 2)
    assert wide is not None
    assert wide.shape == (2, 68)
    assert (wide > 0).all()
