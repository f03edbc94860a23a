import keras
import numpy as np
import pytest

from kd_loss.training.fused_batch_norm import fused_batch_normalization

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's kernel")


def trained(fused: bool):
    """Weights after three steps of a small network, and its moving averages."""
    import contextlib

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(momentum=0.7),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    x = np.random.default_rng(0).normal(2, 3, (12, 8, 8, 3)).astype("float32")
    with fused_batch_normalization() if fused else contextlib.nullcontext():
        model.fit(x, np.ones((12, 2)), batch_size=4, epochs=1, shuffle=False, verbose=0)
    return model.get_weights()


def test_the_fused_kernel_trains_the_same_network():
    for a, b in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_it_is_gone_afterwards():
    before = keras.layers.BatchNormalization.call
    with fused_batch_normalization():
        assert keras.layers.BatchNormalization.call is not before
    assert keras.layers.BatchNormalization.call is before
