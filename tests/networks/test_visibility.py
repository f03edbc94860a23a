"""The second output of a network: which landmarks are visible."""

import dataclasses

import keras
import numpy as np
import pytest

from kd_loss.distillation.visible import visibility_loss
from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.landmark_net import take_weights
from kd_loss.runtimes.crop_network import CropNetwork, mirrored
from kd_loss.schemes.benchmarks import COFW
from kd_loss.system.errors import UserError

CROPS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def card(head="heatmap", visibility=True):
    return Card(
        arch="mobileNetV2", alpha=0.1, dataset="cofw", spec=COFW.to_dict(), size=32, role="student", margin=0.15,
        head=head, cut="P4", visibility=visibility,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["heatmap", "pooled"])
def network(request):
    return build_network(card(request.param))


def test_two_outputs_and_a_tap(network):
    landmarks, visible = network.model(CROPS.astype(np.float32))
    assert landmarks.shape == (2, 29, 2)
    assert visible.shape == (2, 29)
    assert ((np.asarray(visible) > 0) & (np.asarray(visible) < 1)).all()
    tap = network.tap_model(["landmarks", "visibility"])(CROPS.astype(np.float32))
    np.testing.assert_allclose(tap["visibility"], visible, atol=1e-6)


def test_the_file_loads_here_and_in_plain_keras(network, tmp_path):
    save_network(network, tmp_path / "best.h5")
    found = CropNetwork.of(load_network(tmp_path / "best.h5")).predict_all(CROPS)
    _, visible = keras.models.load_model(tmp_path / "best.h5", compile=False).predict(CROPS, verbose=0)
    np.testing.assert_allclose(found[2], visible, atol=1e-6)
    assert (found[1] is None) == (network.card.head == "pooled")


def test_a_network_without_it_answers_none_and_gives_its_weights(network):
    plain = build_network(card(network.card.head, visibility=False))
    wrapped = CropNetwork.of(plain)
    landmarks, _, visible = wrapped.predict_all(CROPS)
    assert visible is None
    assert not wrapped.card.visibility
    other = build_network(card(network.card.head))
    assert "all but visibility" in take_weights(other, plain)
    np.testing.assert_allclose(CropNetwork.of(other).predict_all(CROPS)[0], landmarks, atol=1e-5)


def test_the_mirror_image_swaps_the_points(network):
    symmetric = np.concatenate([CROPS, CROPS[:, :, ::-1]])
    visible = mirrored(CropNetwork.of(network)).predict_all(symmetric)[2]
    np.testing.assert_allclose(visible[:2], visible[2:, COFW.flip_index], atol=1e-5)


def test_heads_without_features_are_one_line():
    for head in ("simcc", "pip"):
        with pytest.raises(UserError, match=f"--visibility is for the heads heatmap and pooled, not for {head}"):
            build_network(card(head))


def test_a_card_of_an_older_version_has_none():
    values = dataclasses.asdict(card())
    del values["visibility"]
    assert not Card.from_dict(values, "the card").visibility
    with pytest.raises(UserError, match="malformed"):
        Card.from_dict({**values, "visibility": "yes"}, "the card")


def test_the_loss_by_hand():
    nan = np.nan
    labels = np.array([[1, 0, nan], [nan, nan, 1]], np.float32)
    said = np.array([[0.5, 0.25, 0.9], [0.9, 0.9, 0.8]], np.float32)
    mean, count = visibility_loss(labels, said)
    assert float(count) == 3
    assert float(mean) == pytest.approx((np.log(2) + np.log(4 / 3) + np.log(1.25)) / 3, rel=1e-5)
    mean, count = visibility_loss(labels, said, np.array([1.0, 0.0]))
    assert (float(mean), float(count)) == (pytest.approx((np.log(2) + np.log(4 / 3)) / 2, rel=1e-5), 2)
    assert float(visibility_loss(np.full((1, 2), nan), said[:1, :2])[0]) == 0
