import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import h5py
import keras
import numpy as np
import pytest

from kd_loss.cli import execute_command
from kd_loss.datasets.synthetic import draw_face
from kd_loss.errors import UserError
from kd_loss.importing.legacy import Convention, recognise
from kd_loss.importing.legacy_file import OldFile, OldLayer
from kd_loss.networks import load_network
from kd_loss.networks.input_scaling import input_scaling

SIZE = 64
SCRIPT = Path(__file__).parent / "keras2_files.py"


@pytest.fixture(scope="module")
def pictures():
    """Various pictures (16, SIZE, SIZE, 3), 0…255: drawn faces, smooth random colours, black, white."""
    rng = np.random.default_rng(1)
    fields = [rng.integers(0, 256, (cells, cells, 3)).astype(np.float32) for cells in (1, 1, 2, 2, 3, 4, 6, 9)]
    colours = [cv2.resize(field, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for field in fields]
    plain = [np.full((SIZE, SIZE, 3), value) for value in (0, 255)]
    return np.stack([*(draw_face(SIZE, 1, i) for i in range(6)), *colours, *plain]).astype(np.float32)


@pytest.fixture(scope="module")
def old(tmp_path_factory, pictures):
    """A folder of files that Keras 2 wrote, see `keras2_files.py`."""
    folder = tmp_path_factory.mktemp("old")
    np.save(folder / "pictures.npy", pictures)
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind in ("h5", "npy"):
        shutil.copy(folder / f"student_weights.{kind}", folder / f"renamed.{kind}")
    with h5py.File(folder / "renamed.h5", "r+") as file:
        names = list(file.attrs["layer_names"])
        for number, name in enumerate(names):
            file.move(name, f"layer_{number}")
        file.attrs["layer_names"] = [f"layer_{number}" for number in range(len(names))]
    return folder


def predict(path, pictures):
    return np.asarray(load_network(path).model(pictures, training=False))


def run_import(path, output, *more, dataset="w300", convention="kd-loss"):
    argv = [str(path), "--dataset", dataset, "--convention", convention, "--output", str(output), *more]
    return execute_command("import", argv, "kd-loss import")


@pytest.mark.parametrize(
    ("name", "options", "more", "expected"),
    [
        ("student", {}, [], lambda out: -out),
        ("renamed", {}, ["--size", "64", "--first-pixel", "0"], lambda out: -out + 0.5 / SIZE),
        ("nested", {"dataset": "cofw", "convention": "pixels"}, [], lambda out: (out + 0.5) / SIZE - 0.5),
        ("teacher", {"dataset": "wflw"}, ["--role", "tough", "--margin", "0.1"], lambda out: -out),
        ("teacher_weights", {"dataset": "wflw"}, ["--role", "tolerant", "--size", "64"], lambda out: -out),
        ("own_efficientnet", {"convention": "unit"}, [], lambda out: out - 0.5),
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
    printed = capsys.readouterr().out
    assert "predictions agree: largest difference" in printed
    assert re.search(r"and vary by [0-9.e-]+ from picture to picture", printed)
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


def test_conventions():
    # the face's middle, and the middle of the first of 224 pixels
    for coordinates, first, middle, corner in [
        ("kd-loss", 0.5, 0.0, 111.5 / 224),
        ("kd-loss", 0.0, 0.5 / 224, 112 / 224),
        ("native", 0.0, 0.0, 0.5 / 224 - 0.5),
        ("unit", 0.0, 0.5, 0.5 / 224),
        ("pixels", 0.0, 111.5, 0.0),
        ("pixels", 1.0, 112.5, 1.0),
    ]:
        m, c = Convention(coordinates, "unit", first).affine(224)
        assert m * middle + c == pytest.approx(0.0)
        assert m * corner + c == pytest.approx(0.5 / 224 - 0.5)


@pytest.mark.parametrize(
    ("arch", "alpha"), [("MobileNetV2", 0.5), ("MobileNetV2", 1.0), ("MobileNetV2", 1.4), ("EfficientNetB1", 1.0)]
)
def test_backbones_are_recognised_by_their_shapes(arch, alpha):
    options = {"alpha": alpha} if arch == "MobileNetV2" else {}
    model = getattr(keras.applications, arch)(
        input_shape=(32, 32, 3), weights=None, classes=136, classifier_activation=None, **options
    )
    layers = [
        OldLayer(la.name, {w.name: np.broadcast_to(np.float32(0), w.shape) for w in la.weights})
        for la in model.layers
        if la.weights
    ]
    found = recognise(OldFile(Path("old.h5"), tuple(layers), None, "2"))
    assert (found.arch.lower(), found.alpha, found.points) == (arch.lower(), alpha, 68)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sigmoid", "ends in a sigmoid, not linearly"),
        ("lambda", "'twice' is a Lambda, which holds code; nothing of a file is run"),
        ("deeper", r"2 dense layers \(dif_gt_st, dense"),
        ("headless", "no dense layer"),
        ("squashed", "is no plain mobileNetV2 with a linear head: .* nothing was written"),
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
        ({"dataset": "cofw"}, [], "finds 68 points, cofw has 29; --dataset w300 has as many"),
        ({"dataset": ""}, [], "give --dataset"),
        ({"convention": "kdloss"}, [], "did you mean 'kd-loss'"),
        ({"convention": ""}, [], "give --convention"),
        ({"convention": "unit"}, ["--first-pixel", "0.5"], "is for kd-loss and pixels"),
        ({}, ["--range", "ubyte"], "unknown range"),
        ({}, ["--role", "pupil"], "unknown role"),
        ({}, ["--size", "96"], "takes pictures of 64 pixels"),
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
    with pytest.raises(UserError, match=r"new.h5 is there already; give another --output"):
        run_import(old / "student.h5", tmp_path / "new.h5")
    assert (tmp_path / "new.h5").is_symlink()


def test_nothing_is_overwritten(old, tmp_path):
    (tmp_path / "new.json").write_text("mine")
    with pytest.raises(UserError, match=r"new.json is there already; give another --output"):
        run_import(old / "student.h5", tmp_path / "new.h5")
    assert (tmp_path / "new.json").read_text() == "mine"


def as_zip(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty,"),
        (b"epoch,loss\n1,0.5\n", "is a text file"),
        ("Gewichte für später".encode(), "is a text file"),
        (b"<!DOCTYPE html><html>404", "a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), "a PNG picture"),
        (cv2.imencode(".jpg", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), "a JPEG picture"),
        (as_zip(archive__data_pkl="", archive__version="3"), "a PyTorch file"),
        (as_zip(config_json="{}", model_weights_h5=""), "a .keras file of Keras 3"),
        (as_zip(a_npy="", b_npy=""), "an .npz archive"),
        (as_zip(a_txt=""), "a zip archive of 1 files"),
        (b"PK\x03\x04 cut", "a truncated or damaged zip"),
        (b"\x1c\x00\x00\x00TFL3", "a LiteRT"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x80\x02\x8a\x0a", "a Python pickle"),
        (b"\x00\x01\x02\xff\xfe", r"unknown kind \(it starts with the bytes 00 01 02 ff\)"),
    ],
)
def test_what_is_no_hdf5_file_is_named(tmp_path, content, message):
    path = tmp_path / "old.h5"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        run_import(path, tmp_path / "out" / "new.h5")
    assert not (tmp_path / "out").exists()


def test_an_onnx_network_and_a_folder_are_named(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\x12\x07pytorch\xff")
    with pytest.raises(UserError, match="an ONNX network"):
        run_import(tmp_path / "net.onnx", tmp_path / "new.h5")
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError, match="a folder, a SavedModel"):
        run_import(tmp_path, tmp_path / "new.h5")


def refused(path, message):
    with pytest.raises(UserError, match=message):
        run_import(path, path.parent / "out" / "new.h5")
    assert not (path.parent / "out").exists()


def test_hdf5_files_without_a_network_are_named(old, tmp_path):
    path = tmp_path / "old.h5"
    whole = (old / "student.h5").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "a truncated or damaged HDF5 file")
    with h5py.File(path, "w") as file:
        file["phis"] = np.zeros((3, 4))
    refused(path, r"without weights of Keras \(it holds 'phis'\)")
    with h5py.File(path, "w") as file:
        file.create_group("optimizer_weights")
    refused(path, "the state of an optimizer")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "new.weights.h5")
    refused(tmp_path / "new.weights.h5", "weights alone of Keras 3")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1"]
        file.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
    refused(path, "without any weights")


def changed(old, tmp_path, change):
    path = tmp_path / "old.h5"
    shutil.copy(old / "student.h5", path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace_kernel(make):
    def change(file):
        group = file["model_weights/O_L"]
        del group["O_L/kernel:0"]
        make(group)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            replace_kernel(lambda g: g.create_dataset("O_L/kernel:0", (1 << 20, 1 << 20), "f4", chunks=(64, 64))),
            "claims more than 1024 MiB",
        ),
        (replace_kernel(lambda g: g.create_dataset("O_L/kernel:0", data=[b"text"])), "no array of numbers"),
        (
            replace_kernel(lambda g: g.create_dataset("O_L/kernel:0", data=np.full((1280, 136), np.nan))),
            "not finite",
        ),
        (replace_kernel(lambda _: None), "damaged HDF5 file"),
        (lambda file: file["model_weights"].attrs.create("layer_names", [b"O_L"]), "0 of them convolutions"),
        (lambda file: file.attrs.create("model_config", "{"), "is not JSON"),
        (lambda file: file.attrs.create("model_config", "[" * 50_000), "is not JSON"),
    ],
)
def test_hostile_files_are_refused(old, tmp_path, change, message):
    refused(changed(old, tmp_path, change), message)


def test_a_weight_in_another_file_is_refused(old, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel"] = np.zeros((1280, 136), np.float32)

    def link(group):
        group["O_L/kernel:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "kernel")

    refused(changed(old, tmp_path, replace_kernel(link)), "points into another file")


def rewrite(edit):
    """A change of the architecture: `edit` gets its layers by name."""

    def change(file):
        config = json.loads(file.attrs["model_config"])
        edit({layer["config"]["name"]: layer for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)

    return change


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda la: la["input_1"]["config"].update(batch_input_shape=[None, 64, 32, 3]), "not square RGB"),
        (lambda la: la["input_1"]["config"].update(batch_input_shape=[None, 10**6, 10**6, 3]), "is not between 16"),
        (lambda la: la["block_1_pad"]["config"].update(padding=[[0, 10**5], [0, 10**5]]), "which no network here"),
        (lambda la: la["Conv1"].update(class_name="Evil>Conv9D"), "'Conv1' is a Conv9D, which is not known"),
        (lambda la: la["Conv1_relu"].update(inbound_nodes=[[["nowhere", 0, 0, {}]]]), "'Conv1_relu' hangs on nothing"),
        (lambda la: la["Conv1_relu"].update(inbound_nodes=[1, 2]), "is used 2 times"),
        (lambda la: la["Conv1_relu"].pop("config"), "cannot be built again"),
        (lambda la: la["bn_Conv1"]["config"].update(epsilon=0.5), "predictions differ"),
    ],
)
def test_hostile_architectures_are_refused(old, tmp_path, edit, message):
    refused(changed(old, tmp_path, rewrite(edit)), message)


def test_sizes_come_from_the_weights_and_a_network_of_this_package_stays_as_it_is(old, tmp_path, pictures):
    claimed = rewrite(lambda la: la["Conv_1"]["config"].update(filters=10**12, kernel_size=[10**6, 10**6]))
    run_import(changed(old, tmp_path, claimed), tmp_path / "a.h5")
    run_import(tmp_path / "a.h5", tmp_path / "b.h5", convention="native")
    a, b = (tmp_path / name for name in ("a.h5", "b.h5"))
    np.testing.assert_allclose(input_scaling(load_network(b).model), input_scaling(load_network(a).model))
    np.testing.assert_allclose(predict(b, pictures), predict(a, pictures), atol=1e-6)


def test_layers_in_another_order_are_refused(old, tmp_path):
    def swap(file):
        names = list(file.attrs["layer_names"])
        one, other = names.index("block_7_expand"), names.index("block_8_expand")
        names[one], names[other] = names[other], names[one]
        names[names.index("Conv1")] = "conv2d_3"
        file.move("Conv1", "conv2d_3")
        file.attrs["layer_names"] = names

    path = tmp_path / "old.h5"
    shutil.copy(old / "student_weights.h5", path)
    with h5py.File(path, "r+") as file:
        swap(file)
    refused(path, "block_8_expand is layer .*, where mobileNetV2 has block_7_expand")
