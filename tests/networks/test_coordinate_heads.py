"""The heads `simcc` and `pip`: what they decode, on numbers that one can check by hand, their taps, what they lack."""

import dataclasses

import keras
import numpy as np
import pytest

from kd_loss.distillation import get_method
from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.heads import STRETCH, Spread
from kd_loss.networks.landmark_net import take_weights
from kd_loss.networks.simcc import bin_centres
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.pose import POSES
from kd_loss.system.errors import UserError

SIZE = 64
CARD = Card("tiny", 1.0, "w300", W300.to_dict(), SIZE, "student", 0.15, "simcc", "P4")
PICTURES = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("uint8")


@pytest.fixture(scope="module")
def simcc():
    return build_network(CARD)


@pytest.fixture(scope="module")
def pip():
    return build_network(dataclasses.replace(CARD, head="pip"))


def decoded(network, **taps):
    """Landmarks and their spread from the first landmark's values of the taps in which a head's learning ends."""
    model = network.export_model()
    layers = [network.model.get_layer(network.card.taps[name]).output for name in taps]
    arrays = []
    for layer, values in zip(layers, taps.values(), strict=True):
        array = np.zeros((1, *layer.shape[1:]), np.float32)
        if network.card.head == "simcc":
            array[0, 0] = values
        else:
            array[0, :, :, 0] = values
        arrays.append(array)
    landmarks, wide = keras.Model(layers, model.output).predict_on_batch(arrays)
    return landmarks[0, 0], wide[0, 0]


def test_the_centres_of_bins_reach_beyond_the_crop():
    assert bin_centres(4, 1.0).tolist() == [-0.375, -0.125, 0.125, 0.375]
    assert bin_centres(128)[-1] == pytest.approx(1.25 * (0.5 - 0.5 / 128))


def test_simcc_decodes_the_expectation_of_its_bins(simcc):
    x, y = np.full(128, -50.0), np.full(128, -50.0)
    x[3] = 0  # all mass in one bin
    y[10] = y[30] = 0  # half of it in each of two
    landmark, wide = decoded(simcc, bins_x=x, bins_y=y)
    centres = bin_centres(128)
    np.testing.assert_allclose(landmark, [centres[3], (centres[10] + centres[30]) / 2], atol=1e-5)
    # two masses twenty bins apart: each ten bins from their mean
    assert wide == pytest.approx(10 * STRETCH / 128, rel=1e-3)


def test_pip_decodes_the_cell_and_where_in_it(pip):
    scores, right, down = np.full((4, 4), -50.0), np.zeros((4, 4)), np.zeros((4, 4))
    scores[1, 2] = 0
    right[1, 2], down[1, 2] = 0.25, -0.5  # of a cell, from its centre
    right[0, 0] = 9.0  # of a cell that the landmark is not in
    landmark, wide = decoded(pip, scores=scores, offsets_x=right, offsets_y=down)
    np.testing.assert_allclose(landmark, [2.75 / 4 - 0.5, 1.0 / 4 - 0.5], atol=1e-5)
    assert wide < 1e-3
    # two cells that mean one place agree; the same without offsets do not
    scores[1, 3] = 0
    right[1, 3], down[1, 3] = -0.75, -0.5
    _, agreed = decoded(pip, scores=scores, offsets_x=right, offsets_y=down)
    _, apart = decoded(pip, scores=scores, offsets_x=0 * right, offsets_y=down)
    assert agreed < 1e-3
    assert apart == pytest.approx(0.5 / 4, rel=1e-3)


def test_their_taps(simcc, pip):
    def shapes(network):
        return {name: tuple(value.shape) for name, value in network.tap_model(network.taps)(PICTURES).items()}

    both = {
        **{"landmarks": (2, 68, 2), "embedding": (2, 48), "spread": (2, 68)},
        **{"P2": (2, 16, 16, 24), "P3": (2, 8, 8, 32), "P4": (2, 4, 4, 48)},
    }
    assert shapes(simcc) == {**both, "bins_x": (2, 68, 128), "bins_y": (2, 68, 128)}
    cells = (2, 4, 4, 68)
    assert shapes(pip) == {**both, "scores": cells, "offsets_x": cells, "offsets_y": cells}


@pytest.mark.parametrize("head", ["simcc", "pip"])
def test_sides_that_do_not_divide_and_the_whole_backbone(head):
    network = build_network(dataclasses.replace(CARD, head=head, size=60, cut="P5"))
    assert network.model.output_shape == (None, 68, 2)
    assert "P5" in network.taps


def test_their_spread_comes_with_the_landmarks_and_their_files_are_keras_own(simcc, pip, tmp_path):
    for network in (simcc, pip):
        landmarks, wide = CropNetwork.of(network).predict_with_spread(PICTURES)
        assert (landmarks.shape, wide.shape) == ((2, 68, 2), (2, 68))
        assert (wide > 0.05).all()  # untrained: the mass is everywhere
        path = tmp_path / f"{network.card.head}.h5"
        save_network(network, path)
        assert all(type(layer).__module__.startswith("keras.") for layer in network.model.layers)
        assert not any(isinstance(layer, Spread) for layer in network.model.layers)
        again = load_network(path)
        np.testing.assert_array_equal(CropNetwork.of(again).predict_with_spread(PICTURES)[0], landmarks)


def test_what_they_lack_is_one_line(simcc, pip):
    with pytest.raises(UserError, match="its simcc head has no tap 'heatmaps'; it has: landmarks, embedding, bins"):
        simcc.tap_model(["heatmaps"])
    with pytest.raises(UserError, match="a pip head of tiny is not a linear layer on the embedding, which srrl needs"):
        pip.head_weights()
    pose = dataclasses.replace(CARD, spec=next(iter(POSES.values())).to_dict())
    with pytest.raises(UserError, match="a simcc head is of points in a plane; for a .* give --head pooled"):
        build_network(pose)
    with pytest.raises(UserError, match="hourglass outputs maps, which a pip head would discard"):
        build_network(dataclasses.replace(CARD, arch="hourglass", alpha=0.1, head="pip"))
    with pytest.raises(UserError, match="unknown head 'simc': did you mean 'simcc'"):
        build_network(dataclasses.replace(CARD, head="simc"))


def test_places_of_bins_are_not_taken_for_those_of_cells(simcc):
    """256 bins and 256 cells of 64 pixels: weights of one shape under one name, which say different things."""
    heatmap = build_network(dataclasses.replace(CARD, head="heatmap"), seed=1)
    before = heatmap.model.get_layer("landmarks").get_weights()[0]
    assert before.shape == simcc.model.get_layer("landmarks").get_weights()[0].shape
    take_weights(heatmap, simcc)
    np.testing.assert_array_equal(heatmap.model.get_layer("landmarks").get_weights()[0], before)
    np.testing.assert_array_equal(
        heatmap.model.get_layer("conv4").get_weights()[0], simcc.model.get_layer("conv4").get_weights()[0]
    )


def likelihood(taps, truth, **parameters):
    values = get_method("likelihood", parameters).terms(np.float32(truth), taps, {})
    return float(keras.ops.convert_to_numpy(values["likelihood"])[0])


def test_the_likelihood_of_bins_and_of_scores():
    landmarks, truth = np.zeros((1, 2, 2), np.float32), np.full((1, 2, 2), 0.1)
    flat = {"landmarks": landmarks, "bins_x": np.zeros((1, 2, 16), "f"), "bins_y": np.zeros((1, 2, 16), "f")}
    assert likelihood(flat, truth, of="bins") == pytest.approx(2 * np.log(16), rel=1e-5)
    cells = {"landmarks": landmarks, "scores": np.zeros((1, 4, 4, 2), "f")}
    assert likelihood(cells, truth, of="scores") == pytest.approx(np.log(16), rel=1e-5)
    # 0.1 lies in the cell from 0 to 0.25, of both axes: its score makes the truth likely, that of another does not
    for row, column, expected in ((2, 2, 0.0), (1, 2, 20.0)):
        cells["scores"] = np.zeros((1, 4, 4, 2), "f")
        cells["scores"][0, row, column] = 20.0
        assert likelihood(cells, truth, of="scores") == pytest.approx(expected, abs=0.01)
    with pytest.raises(UserError, match="unknown likelihood.of 'bin': did you mean 'bins'"):
        get_method("likelihood", {"of": "bin"})
