"""Recognition networks: their size against the published ones, and their layers against formulas."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss.networks.flops import multiply_adds
from kd_loss.recognition.card import RecogniserCard
from kd_loss.recognition.clusters import cluster_figures, matched, purity, sinkhorn
from kd_loss.recognition.layers import adain, integrate, resized
from kd_loss.recognition.margins import MarginHead, arcface_cosine, contrast, margin_loss
from kd_loss.recognition.network import build_recogniser
from kd_loss.system.errors import UserError

RNG = np.random.default_rng(0)


def counted(card):
    network = build_recogniser(card)
    return network.count_params() / 1e6, multiply_adds(network) / 1e9


def test_resnet_34_has_the_published_size_and_integration_adds_the_published_cost():
    card = RecogniserCard("ir", 1.0, 112, 512, (3, 4, 6, 3))
    parameters, cost = counted(card)
    assert parameters == pytest.approx(31.8, abs=0.05)
    assert cost == pytest.approx(3.71, rel=0.07)  # 3.94: published 3.71
    # what is added depends on the channels alone
    shorter = replace(card, units=(1, 1, 1, 1), embedding=2)
    parameters, cost = counted(shorter)
    fan = {"heatmaps": (64, 64, 51), "P4": (64, 64, 256)}  # a FAN's maps
    for kind, more_parameters, more_cost in (("bl", 0.4, 0.54), ("sl", 0.1, 0.46)):
        other = counted(replace(shorter, features=kind, maps=fan))
        assert other[0] - parameters == pytest.approx(more_parameters, abs=0.11)
        assert other[1] - cost == pytest.approx(more_cost, abs=0.011)


def test_the_small_student_has_less_than_a_million():
    assert counted(RecogniserCard("mobile", 0.75, 64, 128))[0] < 1


def test_adain_takes_the_means_and_deviations_of_each_sample_and_channel():
    x, y = RNG.normal(2, 3, (2, 4, 4, 3)), RNG.normal(-1, 0.5, (2, 5, 5, 3))
    found = ops.convert_to_numpy(adain(x.astype("float32"), y.astype("float32")))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), y.mean(axis=(1, 2)), atol=1e-4)
    np.testing.assert_allclose(found.std(axis=(1, 2)), y.std(axis=(1, 2)), rtol=1e-3)


@pytest.mark.parametrize(("side", "size"), [(8, 16), (7, 12), (16, 8), (16, 4), (14, 9)])
def test_maps_are_resized_as_with_antialias(side, size):
    maps = RNG.uniform(0, 255, (2, side, side, 3)).astype("float32")
    wanted = ops.convert_to_numpy(ops.image.resize(maps, (size, size), antialias=True))
    model = keras.Model(inputs := keras.Input((side, side, 3)), resized(inputs, size))
    assert model.output_shape == (None, size, size, 3)
    np.testing.assert_allclose(ops.convert_to_numpy(model(maps)), wanted, atol=2e-3)
    assert len(model.operations) == 2  # the place of an operation names the layers after it in a file of weights


@pytest.mark.parametrize("kind", ["bl", "sl", "al"])
def test_integration_keeps_the_shape_and_reads_the_maps(kind):
    y, x = keras.Input((8, 8, 4)), keras.Input((16, 16, 4))
    model = keras.Model([y, x], integrate(kind, y, x, "with"))
    values = RNG.normal(size=(1, 8, 8, 4)).astype("float32")
    maps = RNG.normal(size=(2, 1, 16, 16, 4)).astype("float32")
    first, second = (ops.convert_to_numpy(model([values, one])) for one in maps)
    assert first.shape == (1, 8, 8, 4)
    assert np.abs(first - second).max() > 0.05


def test_routing_is_shared_in_a_unit_and_sums_to_one_in_each_group():
    for kind, groups in (("dynamic", 1), ("group", 2)):
        card = RecogniserCard("ir", 0.125, 32, 8, (1, 1, 1, 1), dynamic=kind)
        answer = build_recogniser(card)({"image": np.zeros((2, 32, 32, 3), "float32")})
        routing = ops.convert_to_numpy(answer["routing"])
        assert routing.shape == (2, 3 * groups * 4)  # three stages of one unit
        np.testing.assert_allclose(routing.reshape(2, -1, 4).sum(axis=-1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), 1, rtol=1e-4)


def test_a_card_is_checked():
    good = {"kind": "recogniser", "arch": "ir", "alpha": 1, "size": 64, "embedding": 8, "units": [1, 1, 1, 1]}
    assert RecogniserCard.from_dict(good, "the card").title == "ir 1-1-1-1 × 1"
    for bad in ({"units": [1]}, {"arch": "x"}, {"size": "64"}, {"features": "bl"}, {"embedding": -1}):
        with pytest.raises(UserError, match="the card is malformed"):
            RecogniserCard.from_dict({**good, **bad}, "the card")
    with pytest.raises(UserError, match="is no recognition network's"):
        RecogniserCard.from_dict({"kind": "keypoints"}, "the card")


def test_arcface_falls_with_the_angle_everywhere_and_its_slope_is_finite():
    angles = np.linspace(0, np.pi, 181)
    moved = ops.convert_to_numpy(arcface_cosine(np.cos(angles).astype("float32"), 0.5))
    assert moved[:120] == pytest.approx(np.cos(angles[:120] + 0.5), abs=2e-3)
    assert (np.diff(moved) < 0).all()  # beyond π − m as well
    for extreme in (-1.0, 1.0):
        weight = keras.Variable([[extreme, 0.0]])
        slope = _slope(lambda weight=weight: margin_loss(weight, [0], margin=0.5)[0], weight)
        assert np.isfinite(slope).all()


def _slope(value, variable):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("slopes are taken by TensorFlow")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = value()
    return tape.gradient(loss, variable.value).numpy()


def test_cosface_by_hand():
    # s = 2, m = 0.25: logits 2·(0.75 − 0.25) and 2·0.5, so that both are 1
    assert float(margin_loss([[0.75, 0.5]], [0], "cosface", 2.0, 0.25)[0]) == pytest.approx(np.log(2))


def test_the_margin_grows_to_its_full_value():
    head = MarginHead(2, 2, "cosface", scale=1.0, margin=0.4, ramp=2)
    head.centres.assign(np.eye(2))
    between = np.full((1, 2), np.sqrt(0.5), "float32")
    steps = [head.terms(between, [0]) for _ in range(4)]
    losses = [float(step["margin"]) for step in steps]
    wanted = [np.log(1 + np.exp(m)) for m in (0, 0.2, 0.4, 0.4)]
    assert losses == pytest.approx(wanted, rel=1e-4)
    # nearest to the second person's centre, whatever the margin
    assert float(head.terms(np.array([[0.6, 0.8]], "float32"), [0])["accuracy"]) == 0
    assert float(head.terms(np.array([[0.6, 0.8]], "float32"), [1])["accuracy"]) == 1


def test_contrast_needs_another_picture_of_the_person():
    embedding = np.array([[1, 0], [1, 0], [0, 1]], "float32")
    found = ops.convert_to_numpy(contrast(embedding, np.array([0, 0, 1]), scale=2.0))
    assert found == pytest.approx([np.log(1 + np.exp(-2)), np.log(1 + np.exp(-2)), 0], abs=1e-5)


def test_clusters():
    assert purity(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 7])) == 0.75
    old, new = np.array([0, 0, 1, 2]), np.array([2, 2, 0, 1])
    assert matched(new, old, 3).tolist() == old.tolist()
    q = sinkhorn(RNG.normal(size=(12, 3)), epsilon=0.5, rounds=50)
    np.testing.assert_allclose(q.sum(axis=0), 4, rtol=1e-2)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-6)


def test_figures_of_clusters_beside_attributes():
    vectors = np.repeat(np.eye(3), 4, axis=0)
    classes = {"same": np.repeat([0, 1, 2], 4), "one": np.zeros(12, int), "half": np.array([0, -1, 0, 1] * 3)}
    figures, clusters = cluster_figures({"embedding": vectors}, classes, 3)
    assert figures["embedding"]["same"] == pytest.approx({"purity": 1, "ami": 1, "largest": 1 / 3})
    assert "one" not in figures["embedding"]
    assert figures["embedding"]["half"]["purity"] == pytest.approx(2 / 3)  # of the nine that are known
    assert len(clusters["embedding"]) == 12
