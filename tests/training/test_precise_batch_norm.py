import keras
import numpy as np

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks import Card, build_network
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.training.precise_batch_norm import PreciseBatchNorm


def test_the_averages_become_those_of_the_batches(synthetic):
    """One batch: inference then computes what training computed on it."""
    scheme = LandmarkScheme("five", 5)
    network = build_network(Card("tiny", 1.0, "five", scheme.to_dict(), 32, "student", 0.15))
    loader = FaceLoader(
        FaceSampler(synthetic.split("train"), np.arange(16)), CropTransform(32), batch_size=16, workers=1
    )
    images = loader[0][0].astype(np.float32)
    # before: moving variances of 1, far from the truth
    training = keras.ops.convert_to_numpy(network.model(images, training=True))
    before = keras.ops.convert_to_numpy(network.model(images, training=False))
    callback = PreciseBatchNorm(network.model, loader)
    callback.update()
    after = keras.ops.convert_to_numpy(network.model(images, training=False))
    np.testing.assert_allclose(after, training, atol=1e-4)
    assert np.abs(before - training).max() > 1e-3
    # twice is the same: the averages start from nothing
    callback.update()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(network.model(images, training=False)), after, atol=1e-6)


def test_several_batches_are_averaged_by_hand(synthetic):
    scheme = LandmarkScheme("five", 5)
    network = build_network(Card("tiny", 1.0, "five", scheme.to_dict(), 32, "student", 0.15))
    loader = FaceLoader(
        FaceSampler(synthetic.split("train"), np.arange(32)), CropTransform(32), batch_size=2, workers=1
    )
    assert len(loader) == 16
    callback = PreciseBatchNorm(network.model, loader)
    assert len(callback.batches) == 2
    first = network.model.get_layer("bn1")
    inside = keras.Model(network.model.input, first.input)
    means = [keras.ops.convert_to_numpy(inside(loader[i][0].astype(np.float32))).mean(axis=(0, 1, 2)) for i in (0, 1)]
    callback.update()
    # an average that keeps 0.9, freed from its start at zero: weights 0.9 and 1 of 1.9
    expected = (0.9 * means[0] + means[1]) / 1.9
    np.testing.assert_allclose(keras.ops.convert_to_numpy(first.moving_mean), expected, rtol=1e-3, atol=1e-5)


def test_frozen_layers_keep_their_statistics(synthetic):
    scheme = LandmarkScheme("five", 5)
    network = build_network(Card("tiny", 1.0, "five", scheme.to_dict(), 32, "student", 0.15))
    frozen = network.model.get_layer("bn1")
    frozen.trainable = False
    loader = FaceLoader(
        FaceSampler(synthetic.split("train"), np.arange(16)), CropTransform(32), batch_size=16, workers=1
    )
    PreciseBatchNorm(network.model, loader).update()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(frozen.moving_variance), 1)
    assert np.abs(keras.ops.convert_to_numpy(network.model.get_layer("bn2").moving_mean)).max() > 0
