"""A written finder as the start of another training."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from kd_loss.system.errors import UserError
from tests.detection.test_finder import write_white_finder
from tools.finder.network import build_finder
from tools.finder.start import start_from


def test_a_file_that_is_no_such_finder(tmp_path):
    with pytest.raises(UserError, match="white.onnx is not a finder's .onnx"):
        start_from(build_finder(64), write_white_finder(tmp_path / "white.onnx"), np.zeros((1, 64, 64, 3)))


def test_the_last_block_of_each_map_begins_as_if_it_were_not_there():
    model = build_finder(64)
    for stride in (8, 16, 32):
        gammas = [model.get_layer(f"s{stride}_{n}_pointwise_norm").get_weights()[0] for n in range(4)]
        assert [bool(gamma.any()) for gamma in gammas] == [True, True, True, False]


def test_the_shipped_finder_as_the_start_of_another():
    path = Path("models/detectors/finder.onnx")
    pictures = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    model = build_finder(64)
    start_from(model, path, pictures)
    session = onnxruntime.InferenceSession(str(path))
    assert session.get_inputs()[0].shape[1:] == [224, 224, 3]
    large = build_finder(224)
    large.set_weights(model.get_weights())
    picture = np.random.default_rng(1).uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    for mine, shipped in zip(large.predict_on_batch(picture), session.run(None, {"image": picture}), strict=True):
        np.testing.assert_allclose(mine.ravel(), shipped.ravel(), atol=1e-4)
