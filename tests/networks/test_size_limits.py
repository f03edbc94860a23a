"""Small files that describe large networks, and files that end their runtime: one line, and little memory."""

import io
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest

from kd_loss.detection import YuNetDetector
from kd_loss.networks import Card, load_network
from kd_loss.runtimes.crop_network import open_network, read_card
from kd_loss.runtimes.files import check_trial, embed_card, open_runtime
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

SPEC = LandmarkScheme("four", 4)
CARD = Card("mobileNetV2", 0.35, "four", SPEC.to_dict(), 32, "student", 0.15)


def peak():
    """Most memory that this process has had so far, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def refused(path, message, most=800):
    before = peak()
    with pytest.raises(UserError, match=message) as raised:
        load_network(path)
    assert "\n" not in str(raised.value)
    assert peak() - before < most


def small(path, *layers):
    """A file of Keras of a few layers with its card."""
    model = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    model.save(path)
    CARD.write(path)
    return path


def test_a_sequential_network_is_read(tmp_path):
    head = keras.layers.Dense(8)
    for _ in range(3):  # ids of shared objects are addresses, which are large numbers
        path = small(tmp_path / "net.keras", keras.layers.GlobalAveragePooling2D(), head, keras.layers.Reshape((4, 2)))
        assert load_network(path).model.output_shape == (None, 4, 2)
        text = zipfile.ZipFile(path).read("config.json").decode()
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = text.replace('"Reshape"', '"Reshape", "shared_object_id": 140234567890', 1).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    assert load_network(path).model.output_shape == (None, 4, 2)


def test_inner_weights_that_declare_two_gigabytes(tmp_path):
    path = small(tmp_path / "net.keras", keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.Reshape((4, 2)))
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        file.create_dataset("layers/dense/vars/0", (1 << 15, 1 << 14), "f4", chunks=(64, 64))
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", inner.getvalue())
    assert path.stat().st_size < 20_000
    refused(path, "claims more than 1024 MiB of weights")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_wide_layer_on_a_flat_picture(tmp_path, suffix):
    path = small(
        tmp_path / f"net{suffix}", keras.layers.Flatten(), keras.layers.Dense(96), keras.layers.Dense(8),
        keras.layers.Reshape((4, 2)),
    )  # fmt: skip
    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = file.attrs["model_config"].replace('"units": 96', '"units": 100000')
            del file["model_weights"]
            file.attrs["model_config"] = config
            file.create_group("model_weights")
    else:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        parts["config.json"] = parts["config.json"].replace(b'"units": 96', b'"units": 100000')
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    refused(path, "describes more than 1024 MiB of weights")


def test_a_layer_that_makes_gigabytes_of_a_picture(tmp_path):
    path = small(
        tmp_path / "net.h5", keras.layers.UpSampling2D(9), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8),
        keras.layers.Reshape((4, 2)),
    )  # fmt: skip
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"size": [9, 9]', '"size": [900, 900]')
    refused(path, "makes 9492 MiB from one image")


def onnx_file(path, nodes, **constants):
    """An ONNX network image -> points of a few nodes, with a card."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("image", kind, [1, 32, 32, 3])],
        [helper.make_tensor_value_info("points", kind, [1, 4, 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    embed_card(path, {**CARD.__dict__})
    return path


def test_a_constant_of_gigabytes_in_onnx(tmp_path):
    node = onnx.helper.make_node
    nodes = [
        node("ConstantOfShape", ["shape"], ["large"]),
        node("ReduceMean", ["large"], ["mean"], keepdims=0),
        node("ReduceMean", ["image"], ["level"], keepdims=0),
        node("Add", ["mean", "level"], ["sum"]),
        node("Expand", ["sum", "to"], ["points"]),
    ]
    shape, to = np.array([34_000, 34_000], np.int64), np.array([1, 4, 2], np.int64)
    path = onnx_file(tmp_path / "net.onnx", nodes, shape=shape, to=to)
    assert path.stat().st_size < 4_000
    before = peak()
    for call in (read_card, open_runtime, open_network):
        with pytest.raises(UserError, match="does not load: it needs more than 3072 MiB of memory"):
            call(path)
    assert peak() - before < 200
    sound = onnx_file(tmp_path / "sound.onnx", nodes, shape=np.array([34, 34], np.int64), to=to)
    assert open_network(sound).run(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 4, 2)


def tflite_file(path):
    """An int8 network with a table of which it takes a row, as bytes in which a number can be found."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 32, 32, 3), tf.float32)])
    def net(image):
        return tf.reshape(tf.reduce_mean(image) + tf.zeros(8), (1, 4, 2))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()])
    path.write_bytes(converter.convert())
    embed_card(path, {**CARD.__dict__})
    return path


@pytest.mark.parametrize("code", ["os.abort()", "os.kill(os.getpid(), 11)"])
def test_a_file_that_ends_its_runtime(tmp_path, monkeypatch, code):
    """What a damaged int8 file does about once in 300: the process that tries it is ended, not this one."""
    path = tflite_file(tmp_path / "net.tflite")
    assert open_network(path).runtime == "litert"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nif 'kd_loss.runtimes.files' in sys.orig_argv:\n    {code}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"ended the process that tried it \(SIG(ABRT|SEGV)\); the file is damaged"):
        open_network(path)


def test_a_detector_model_is_tried_too(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"\x08\x07" + bytes(200))
    with pytest.raises(UserError, match="yunet.onnx does not load"):
        YuNetDetector(tmp_path / "yunet.onnx")
    with pytest.raises(UserError, match="cannot read"):
        check_trial(tmp_path / "nowhere.onnx")
