"""Any Keras model as a network with taps."""

import keras
import numpy as np
import pytest

from kd_loss.networks.tapped_model import TappedModel
from kd_loss.system.errors import UserError

SIZE, POINTS = 32, 4
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
LEVELS = {"P2": 8, "P3": 4, "P4": 2, "P5": 1}


def trunk():
    """Strides 2…32; the layers of one stride are two."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for power in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"down{power}")(x)
        x = keras.layers.ReLU(name=f"relu{power}")(x)
    return keras.Model(inputs, x, name="trunk")


def nested():
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(trunk()(keras.layers.Rescaling(1 / 255)(inputs)))
    x = keras.layers.Dense(2 * POINTS, name="dense")(x)
    return keras.Model(inputs, keras.layers.Reshape((POINTS, 2))(x), name="nested")


def flat():
    backbone = trunk()
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    return keras.Model(backbone.input, keras.layers.Dense(2 * POINTS, name="dense")(x), name="flat")


def sequential():
    layers = [keras.Input((SIZE, SIZE, 3)), trunk(), keras.layers.GlobalAveragePooling2D(name="pool")]
    return keras.Sequential([*layers, keras.layers.Dense(2 * POINTS, name="dense")], name="line")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.dense = keras.layers.Dense(2 * POINTS)

    def call(self, images):
        return self.dense(self.pool(images / 255))


def output(model):
    return np.reshape(keras.ops.convert_to_numpy(model(IMAGES)), (2, POINTS, 2))


@pytest.mark.parametrize("build", [nested, flat, sequential])
def test_taps_are_found_by_their_size(build):
    tapped = TappedModel(build())
    assert (tapped.size, tapped.target_shape) == (SIZE, (POINTS, 2))
    assert set(tapped.taps) == {"landmarks", "embedding", *LEVELS}
    taps = tapped.tap_model(tapped.taps)(IMAGES)
    for tap, side in LEVELS.items():
        assert taps[tap].shape == (2, side, side, 4), tap
        assert tapped.places[tap].split("/")[-1] in (f"relu{tap[1]}", "trunk")
        assert keras.ops.convert_to_numpy(taps[tap]).min() >= 0  # the last one of its size, behind the ReLU
    pooled = keras.ops.convert_to_numpy(taps["P5"]).mean(axis=(1, 2))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(taps["embedding"]), pooled, atol=1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(taps["landmarks"]), output(tapped.model), atol=1e-5)


def test_the_weights_stay_the_models_own():
    model = nested()
    taps = TappedModel(model).tap_model(["landmarks", "P3", "P5"])
    before = keras.ops.convert_to_numpy(taps(IMAGES)["landmarks"])
    assert {id(weight) for weight in taps.weights} == {id(weight) for weight in model.weights}
    model.get_layer("dense").bias.assign(np.ones(2 * POINTS))
    after = keras.ops.convert_to_numpy(taps(IMAGES)["landmarks"])
    np.testing.assert_allclose(after - before, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [("unit", lambda v: v - 0.5), ("signed", lambda v: v / 2), ("pixels", lambda v: (v + 0.5) / SIZE - 0.5)],
)
def test_landmarks_are_normalised(coordinates, expected):
    model = flat()
    tapped = TappedModel(model, coordinates=coordinates)
    found = keras.ops.convert_to_numpy(tapped.tap_model()(IMAGES)["landmarks"])
    np.testing.assert_allclose(found, expected(output(model)), atol=1e-5)
    # the head, as srrl reads it, says the same of the embedding
    kernel, bias = tapped.head_weights()
    embedding = keras.ops.convert_to_numpy(tapped.tap_model(["embedding"])(IMAGES)["embedding"])
    np.testing.assert_allclose((embedding @ kernel + bias).reshape(found.shape), found, atol=1e-5)


def test_taps_that_are_named():
    tapped = TappedModel(nested(), taps={"P4": "trunk/down4", "mine": "trunk/relu1"})
    taps = tapped.tap_model(["P4", "mine"])(IMAGES)
    assert taps["P4"].shape == (2, 2, 2, 4)
    assert keras.ops.convert_to_numpy(taps["P4"]).min() < 0  # in front of the ReLU
    assert taps["mine"].shape == (2, 16, 16, 4)
    assert tapped.channels("mine") == 4


def test_a_subclassed_model_has_landmarks_alone():
    model = Subclassed()
    tapped = TappedModel(model, size=SIZE, coordinates="unit")
    assert tapped.taps == ("landmarks",)
    found = keras.ops.convert_to_numpy(tapped.tap_model()(IMAGES)["landmarks"])
    np.testing.assert_allclose(found, output(model) - 0.5, atol=1e-5)


def two_outputs():
    model = flat()
    return keras.Model(model.input, [model.output, model.get_layer("relu3").output], name="two")


def test_one_of_several_outputs_is_named():
    model = two_outputs()
    tapped = TappedModel(model, taps={"landmarks": "dense"})
    found = keras.ops.convert_to_numpy(tapped.tap_model(["landmarks", "P3"])(IMAGES)["landmarks"])
    np.testing.assert_allclose(found, np.reshape(model(IMAGES)[0], (2, POINTS, 2)), atol=1e-5)


def odd():
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(inputs)), name="odd")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TappedModel(Subclassed()), "subclassed is a subclassed model: give the size of its images"),
        (lambda: TappedModel(keras.Sequential([keras.layers.Flatten()], name="s")), "s is not built"),
        (lambda: TappedModel(odd()), r"odd gives \(None, 7\); landmarks are \(B, K, 2\) or \(B, 2K\)"),
        (lambda: TappedModel(two_outputs()), "two gives several outputs"),
        (lambda: TappedModel(flat(), taps={"P4": "relu"}), "no layer 'relu': did you mean 'relu"),
        (lambda: TappedModel(flat()).tap_model(["heatmaps"]), "flat has no tap 'heatmaps'; it has: landmarks, P2"),
        (
            lambda: TappedModel(Subclassed(), size=SIZE).tap_model(["P3"]),
            "subclassed model, whose only tap is landmarks: it has no 'P3'",
        ),
        (lambda: TappedModel(Subclassed(), size=SIZE).head_weights(), "are not the direct output of a dense layer"),
    ],
)
def test_what_does_not_fit_is_one_line(build, message):
    with pytest.raises(UserError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
