"""The keypoint detector: its heads by hand, its files."""

import json

import keras
import numpy as np
import pytest

from kd_loss.networks.keypoint_detector import (
    KeypointCard,
    build_detector,
    keypoint_heads,
    load_detector,
    places,
    save_detector,
)
from kd_loss.system.errors import UserError


def small(arch="hourglass", points=4):
    return build_detector(KeypointCard(arch, 0.125, points, 64))


def pictures(count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, 64, 64, 3)).astype(np.float32)


def test_heads_have_the_published_size():
    """0.086 million parameters on 35 maps for ten keypoints; heatmaps of 58², of 29² with a stride of 2."""
    maps = keras.Input((64, 64, 35))
    model = keras.Model(maps, keypoint_heads(maps, 10))
    counted = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert counted == 35 * 49 * 50 + 50 == 85_800
    assert model.output["heatmaps"].shape == (None, 58, 58, 10)
    assert keypoint_heads(maps, 10, stride=2)["heatmaps"].shape == (None, 29, 29, 10)


def test_heads_compute_what_is_published():
    """By NumPy: a softmax of logits / 0.1, the expectation of places, the weighted sum of slopes."""
    rng = np.random.default_rng(1)
    maps = keras.Input((9, 8, 5))
    model = keras.Model(maps, keypoint_heads(maps, 3))
    kernel, slopes = model.get_layer("keypoint_maps"), model.get_layer("jacobian_maps")
    kernel.set_weights([rng.normal(0, 0.02, (7, 7, 5, 3)), rng.normal(0, 0.1, 3)])
    slopes.set_weights([rng.normal(0, 0.02, (7, 7, 5, 12)), slopes.get_weights()[1]])
    features = rng.normal(0, 1, (1, 9, 8, 5)).astype(np.float32)
    found = model.predict(features, verbose=0)

    def convolved(layer):
        weights, bias = layer.get_weights()
        cells = [
            [(features[0, i : i + 7, j : j + 7, :, None] * weights).sum((0, 1, 2)) for j in range(2)] for i in range(3)
        ]
        return np.array(cells).reshape(6, -1) + bias

    exponents = np.exp(convolved(kernel) / 0.1)
    heat = exponents / exponents.sum(axis=0)
    jacobians = np.einsum("zk,zkij->kij", heat, convolved(slopes).reshape(6, 3, 2, 2))
    grid = np.array([[x, y] for y in (-1, 0, 1) for x in (-1, 1)])
    assert places(3, 2) == pytest.approx(grid)
    assert found["heatmaps"].reshape(6, 3) == pytest.approx(heat, abs=1e-4)
    assert found["keypoints"][0] == pytest.approx(heat.T @ grid, abs=1e-4)
    assert found["jacobians"][0] == pytest.approx(jacobians, abs=1e-3)


@pytest.mark.parametrize(("arch", "side"), [("hourglass", 58), ("squeezeUNet", 58), ("mobileNetV2", 16)])
def test_jacobians_begin_at_the_identity(arch, side):
    detector = small(arch) if arch != "mobileNetV2" else build_detector(KeypointCard(arch, 0.35, 4, 64))
    found = detector.with_encoder().predict(pictures(), verbose=0)
    assert found["heatmaps"].shape == (2, side, side, 4)
    assert found["heatmaps"].sum(axis=(1, 2)) == pytest.approx(1, abs=1e-4)
    assert found["jacobians"] == pytest.approx(np.broadcast_to(np.eye(2), (2, 4, 2, 2)), abs=1e-4)
    assert np.abs(found["keypoints"]).max() <= 1
    assert len(found["encoder"].shape) == 4


def test_a_file_loads_here_and_in_plain_keras(tmp_path):
    detector = small()
    save_detector(detector, tmp_path / "best.h5")
    again = load_detector(tmp_path / "best.h5")
    plain = keras.models.load_model(tmp_path / "best.h5", compile=False)
    wanted = detector.model.predict(pictures(), verbose=0)["keypoints"]
    for model in (again.model, plain):
        assert model.predict(pictures(), verbose=0)["keypoints"] == pytest.approx(wanted, abs=1e-6)
    assert again.card == detector.card


def test_files_of_something_else_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no such weights"):
        load_detector(tmp_path / "none.h5")
    save_detector(small(), tmp_path / "best.h5")
    card = json.loads((tmp_path / "best.json").read_text())
    for change, said in (
        ({"kind": "landmarks"}, "is not the card of a keypoint detector"),
        ({"points": "four"}, "is malformed"),
        ({"arch": "unknown"}, "is malformed"),
        ({"points": 7}, "does not fit its card"),
    ):
        (tmp_path / "best.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(UserError, match=said):
            load_detector(tmp_path / "best.h5")
