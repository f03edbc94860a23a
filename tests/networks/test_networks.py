import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.networks.efficientnet_package import copy_weights
from kd_loss.networks.input_scaling import input_scaling, set_input_scaling
from kd_loss.networks.landmark_net import take_weights
from kd_loss.schemes.benchmarks import COFW, W300
from kd_loss.system.errors import UserError

STUDENT = Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 64, "student", 0.15)


@pytest.fixture(scope="module")
def student():
    return build_network(STUDENT)


def pictures(size=64, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


def test_named_taps_and_their_shapes(student):
    out = student.tap_model(student.taps)(pictures())
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes["landmarks"] == (2, 68, 2)
    assert shapes["embedding"] == (2, 1280)
    assert [shapes[f"P{n}"][1:3] for n in (2, 3, 4, 5)] == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_an_unknown_tap_is_one_line(student):
    with pytest.raises(UserError, match="with its pooled head has no tap 'heatmaps'; it has: landmarks, embedding"):
        student.tap_model(["heatmaps"])


def test_the_paper_size_of_the_student():
    # 2.42 million in the paper's table: MobileNetV2 without its classifier, and 1280 · 136 + 136
    network = build_network(dataclasses.replace(STUDENT, alpha=1.0, size=224))
    assert network.model.count_params() == 2_432_200


def test_the_teacher_is_b3_with_half_of_its_embedding_dropped():
    network = build_network(dataclasses.replace(STUDENT, arch="efficientNet", alpha=1.0))
    assert network.model.get_layer("embedding").output.shape == (None, 1536)
    assert network.model.get_layer("dropout").rate == 0.5
    assert network.taps == ("landmarks", "embedding", "P2", "P3", "P4", "P5")


def test_batch_norm_momentum(student):
    layers = [la for la in student.model.layers if isinstance(la, keras.layers.BatchNormalization)]
    assert len(layers) == 52
    assert {la.momentum for la in layers} == {0.9}


def test_the_first_prediction_is_near_the_mean_shape():
    mean = np.random.default_rng(1).uniform(-0.4, 0.4, (68, 2))
    network = build_network(STUDENT, mean_shape=mean)
    assert np.abs(network.model.predict(pictures(), verbose=0) - mean).mean() < 0.1


def test_the_same_seed_makes_the_same_network():
    a, b = (build_network(STUDENT, seed=4).model.get_weights() for _ in "ab")
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_saving_and_loading(student, tmp_path):
    path = tmp_path / "best.h5"
    save_network(student, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.h5", "best.json"]
    again = load_network(path)
    assert again.card == student.card
    np.testing.assert_array_equal(
        again.model.predict(pictures(), verbose=0), student.model.predict(pictures(), verbose=0)
    )


def test_the_file_loads_in_plain_keras_without_this_package(student, tmp_path):
    path = tmp_path / "best.h5"
    save_network(student, path)
    code = (
        "import sys, keras; m = keras.models.load_model(sys.argv[1], compile=False); "
        "assert m.output_shape == (None, 68, 2); assert not any(n.startswith('kd_loss') for n in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def test_what_is_not_a_network_is_one_line(student, tmp_path):
    path = tmp_path / "best.h5"
    with pytest.raises(UserError, match="no such weights"):
        load_network(path)
    save_network(student, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(UserError, match="does not load as a Keras model"):
        load_network(path)
    path.write_bytes(whole)
    (tmp_path / "best.json").unlink()
    with pytest.raises(UserError, match="has no card"):
        load_network(path)
    dataclasses.replace(student.card, size=96).write(path)
    with pytest.raises(UserError, match="but its card states 96 pixels"):
        load_network(path)
    (tmp_path / "best.json").write_text('{"arch": "x"}')
    with pytest.raises(UserError, match="lacks alpha, dataset"):
        load_network(path)


def test_weights_to_start_from(student):
    other = build_network(dataclasses.replace(STUDENT, spec=COFW.to_dict(), dataset="cofw", size=96), seed=9)
    text = take_weights(other, student)
    assert "all but head taken" in text
    np.testing.assert_array_equal(
        other.model.get_layer("Conv1").get_weights()[0], student.model.get_layer("Conv1").get_weights()[0]
    )
    same = build_network(dataclasses.replace(STUDENT, size=96), seed=9)
    assert "all 105 layers" in take_weights(same, student)
    # a network that sees 0…1 is started from: the new one sees its pictures as it did
    set_input_scaling(other.model, 1 / 255, 0.0)
    started = build_network(dataclasses.replace(STUDENT, spec=COFW.to_dict(), dataset="cofw"), seed=2)
    take_weights(started, other)
    np.testing.assert_allclose(input_scaling(started.model), [[1 / 255] * 3, [0] * 3])
    with pytest.raises(UserError, match="is not the backbone"):
        take_weights(build_network(dataclasses.replace(STUDENT, alpha=0.5)), student)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"arch": "efficientNetB0", "alpha": 0.5}, {}, "has no width multiplier"),
        ({}, {"pretrained": "imagnet"}, "did you mean 'imagenet'"),
        ({}, {"pretrained": "noisy-student"}, "exist for EfficientNet only"),
        ({"alpha": 9.0}, {}, "--alpha"),
    ],
)
def test_bad_architectures_are_one_line(changes, options, message):
    with pytest.raises(UserError, match=message):
        build_network(dataclasses.replace(STUDENT, **changes), **options)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    card = dataclasses.replace(STUDENT, alpha=1.0, size=96)
    with pytest.raises(UserError, match="cannot be downloaded"):
        build_network(card, pretrained="imagenet")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the efficientnet package needs TensorFlow")
def test_the_efficientnet_packages_network_is_kerass_but_for_the_input(tmp_path):
    import efficientnet.tfkeras as package

    source = package.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    # weights that differ from the initial ones everywhere, moving averages included
    rng = np.random.default_rng(0)
    source.set_weights([w + rng.uniform(0.01, 0.1, w.shape).astype("float32") for w in source.get_weights()])
    target = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    copy_weights(source, target)
    images = pictures()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = source.predict((images / 255 - mean) / std, verbose=0)
    np.testing.assert_allclose(target.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-4)
    target.save(tmp_path / "b0.h5")
    again = keras.models.load_model(tmp_path / "b0.h5", compile=False)
    np.testing.assert_allclose(again.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the efficientnet package needs TensorFlow")
def test_a_teacher_written_through_the_efficientnet_package_loads_in_a_fresh_process(tmp_path):
    path = tmp_path / "teacher.h5"
    script = (
        "import sys, efficientnet.tfkeras as e, keras\n"
        "b = e.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))\n"
        "x = keras.layers.GlobalAveragePooling2D()(b.output)\n"
        "x = keras.layers.Reshape((68, 2))(keras.layers.Dense(136)(x))\n"
        "keras.Model(b.input, x).save(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)
    dataclasses.replace(STUDENT, arch="efficientNetB0", alpha=1.0, size=32, role="tough").write(path)
    script = (
        "import sys; from pathlib import Path; from kd_loss.networks import load_network\n"
        "assert load_network(Path(sys.argv[1])).model.output_shape == (None, 68, 2)\n"
        "assert 'efficientnet' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("arch", ["mobileNetV2", "efficientNetB0"])
@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0.0), (np.array([0.01, 0.02, 0.03]), np.array([-1, 0, 2.0]))])
def test_another_scaling_of_the_input_is_computed_and_saved(arch, scale, offset, tmp_path):
    network = build_network(dataclasses.replace(STUDENT, arch=arch, alpha=1.0, size=32))
    set_input_scaling(network.model, scale, offset)
    np.testing.assert_allclose(input_scaling(network.model), [scale * np.ones(3), offset * np.ones(3)], rtol=1e-6)
    save_network(network, tmp_path / "best.h5")
    model = load_network(tmp_path / "best.h5").model
    [first, *_] = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    seen = keras.Model(model.input, first.input).predict(pictures(32), verbose=0)[:, :32, :32]
    np.testing.assert_allclose(seen, pictures(32) * scale + offset, rtol=1e-4, atol=1e-5)
