"""The same training by command, by objects and by a loop written by hand gives the same weights (TensorFlow)."""

import dataclasses

import keras
import pytest

from tools.speed.three_ways import WAYS, _parts, difference


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a loop of TensorFlow's")
def test_the_weights_are_the_same(options):
    options = dataclasses.replace(options, epochs=2, seed=3, teacher_mode="live")
    results = {way: train(options) for way, train in WAYS.items()}
    weights = {way: result[0] for way, result in results.items()}
    assert difference(weights["command"], weights["objects"]) == 0
    # the same sums, which the two compiled steps round otherwise
    assert difference(weights["command"], weights["hand"]) < 1e-5
    # it did learn: the start is another
    assert difference(weights["command"], _parts(options)[2].model.get_weights()) > 1e-3
    assert {way: len(result[1]) for way, result in results.items()} == dict.fromkeys(WAYS, 2)
