import re

import keras
import numpy as np
import pytest

from kd_loss.networks import load_network
from kd_loss.networks.input_scaling import input_scaling
from kd_loss.system.errors import UserError
from tests.importing.old_files import SIZE, changed, rewrite, run_import


def predict(path, pictures):
    return np.asarray(load_network(path).model(pictures, training=False))


@pytest.mark.parametrize(
    ("name", "options", "more", "expected"),
    [
        ("student", {}, [], lambda out: -out),
        ("renamed", {}, ["--size", "64", "--first-pixel", "0"], lambda out: -out + 0.5 / SIZE),
        ("nested", {"dataset": "cofw", "convention": "pixels"}, [], lambda out: (out + 0.5) / SIZE - 0.5),
        ("teacher", {"dataset": "wflw"}, ["--role", "tough", "--margin", "0.1"], lambda out: -out),
        pytest.param(
            *("teacher_weights", {"dataset": "wflw"}, ["--role", "tolerant", "--size", "64"], lambda out: -out),
            marks=pytest.mark.slow,
        ),
        pytest.param("own_efficientnet", {"convention": "unit"}, [], lambda out: out - 0.5, marks=pytest.mark.slow),
    ],
)
def test_predictions_are_those_of_keras_2(old, pictures, tmp_path, capsys, name, options, more, expected):
    path = tmp_path / "new.h5"
    run_import(old / f"{name}.h5", path, *more, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.h5", "new.json"]
    network = load_network(path)
    predicted = np.asarray(network.model(pictures, training=False))
    keras2 = np.load(old / f"{name}.npy")
    assert predicted.std(axis=0).mean() > 0.005
    assert np.abs(predicted - expected(keras2.reshape(predicted.shape))).max() < 1e-5
    assert network.taps == ("landmarks", "embedding", "P2", "P3", "P4", "P5")
    assert network.card.training["imported"]["largest_difference"] < 1e-5
    messages = capsys.readouterr().err
    assert "predictions agree: largest difference" in messages
    assert re.search(r"and vary by [0-9.e-]+ from image to image", messages)
    said = (network.card.arch, network.card.alpha, network.card.dataset, network.card.role, network.card.margin)
    assert (
        said
        == {
            "student": ("mobileNetV2", 0.35, "w300", "student", 0.05),
            "renamed": ("mobileNetV2", 0.35, "w300", "student", 0.05),
            "nested": ("mobileNetV2", 0.35, "cofw", "student", 0.15),
            "teacher": ("efficientNetB0", 1.0, "wflw", "tough", 0.1),
            "teacher_weights": ("efficientNetB0", 1.0, "wflw", "tolerant", 0.05),
            "own_efficientnet": ("efficientNetB0", 1.0, "w300", "student", 0.15),
        }[name]
    )


@pytest.mark.slow
def test_a_teacher_that_the_efficientnet_package_wrote_with_keras_3(tmp_path, pictures):
    import efficientnet.tfkeras as package

    keras.utils.set_random_seed(0)
    backbone = package.EfficientNetB0(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    model = keras.Model(backbone.input, keras.layers.Dense(136)(backbone.output))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    seen = (pictures / 255 - mean) / deviation
    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum = 0.1  # a few steps make the signals' size the usual one
    for _ in range(3):
        model(seen, training=True)
    for layer in normalisations:
        *others, variance = layer.get_weights()
        layer.set_weights([*others, np.maximum(variance, variance.mean() / 8)])
    head = model.layers[-1]
    reach = np.abs(model(seen, training=False)).max()
    head.set_weights([0.4 / reach * w for w in head.get_weights()])
    model.save(tmp_path / "old.h5")
    run_import(tmp_path / "old.h5", tmp_path / "new.h5", "--range", "imagenet", convention="native")
    expected = np.asarray(model(seen, training=False)).reshape(-1, 68, 2)
    predicted = predict(tmp_path / "new.h5", pictures)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sigmoid", "ends in a sigmoid, not linearly"),
        ("lambda", "'twice' is a Lambda, which holds code; code from a file is never run"),
        ("deeper", r"2 dense layers \(dif_gt_st, dense"),
        ("headless", "no dense layer"),
        ("squashed", "is not a plain mobileNetV2 with a linear head: .* nothing was written"),
        ("small", r"1 of them convolutions \(0 depthwise\), and a dense layer on 7200; neither MobileNetV2"),
        ("normalised_weights", "save the whole model instead"),
    ],
)
def test_other_networks_are_refused(old, tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        run_import(old / f"{name}.h5", tmp_path / "new.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"dataset": "cofw"}, [], "predicts 68 points, cofw has 29; --dataset w300 has as many"),
        ({"dataset": ""}, [], "give --dataset"),
        ({"convention": "kdloss"}, [], "did you mean 'kd-loss'"),
        ({"convention": ""}, [], "give --convention"),
        ({"convention": "unit"}, ["--first-pixel", "0.5"], "applies to kd-loss and pixels only"),
        ({}, ["--range", "ubyte"], "unknown range"),
        ({}, ["--role", "pupil"], "unknown role"),
        ({}, ["--size", "96"], "takes images of 64 pixels"),
        ({}, ["--margin", "-1"], "--margin -1"),
        ({}, ["--output", "new.pt"], "does not end in .h5"),
    ],
)
def test_options_that_do_not_fit_are_refused(old, tmp_path, options, more, message):
    with pytest.raises(UserError, match=message):
        run_import(old / "student.h5", tmp_path / "new.h5", *more, **options)
    assert not list(tmp_path.iterdir())


def test_a_link_to_nothing_is_not_replaced(old, tmp_path):
    (tmp_path / "new.h5").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"new.h5 already exists; give another --output"):
        run_import(old / "student.h5", tmp_path / "new.h5")
    assert (tmp_path / "new.h5").is_symlink()


def test_nothing_is_overwritten(old, tmp_path):
    (tmp_path / "new.json").write_text("mine")
    with pytest.raises(UserError, match=r"new.json already exists; give another --output"):
        run_import(old / "student.h5", tmp_path / "new.h5")
    assert (tmp_path / "new.json").read_text() == "mine"


@pytest.mark.slow
def test_sizes_come_from_the_weights_and_a_network_of_this_package_stays_as_it_is(old, tmp_path, pictures):
    claimed = rewrite(lambda la: la["Conv_1"]["config"].update(filters=10**12, kernel_size=[10**6, 10**6]))
    run_import(changed(old, tmp_path, claimed), tmp_path / "a.h5")
    run_import(tmp_path / "a.h5", tmp_path / "b.h5", convention="native")
    a, b = (tmp_path / name for name in ("a.h5", "b.h5"))
    np.testing.assert_allclose(input_scaling(load_network(b).model), input_scaling(load_network(a).model))
    np.testing.assert_allclose(predict(b, pictures), predict(a, pictures), atol=1e-6)
