import io
import shutil
import zipfile

import cv2
import h5py
import keras
import numpy as np
import pytest

from kd_loss.system.errors import UserError
from tests.importing.old_files import changed, rewrite, run_import


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
        (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), "a PNG image"),
        (cv2.imencode(".jpg", np.zeros((4, 4, 3), np.uint8))[1].tobytes(), "a JPEG image"),
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
def test_a_file_that_is_not_hdf5_is_named(tmp_path, content, message):
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
    refused(path, "without weights")


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
        (replace_kernel(lambda g: g.create_dataset("O_L/kernel:0", data=[b"text"])), "not an array of numbers"),
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

    refused(changed(old, tmp_path, replace_kernel(link)), "links to another file")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda la: la["input_1"]["config"].update(batch_input_shape=[None, 64, 32, 3]), "not square RGB"),
        (lambda la: la["input_1"]["config"].update(batch_input_shape=[None, 10**6, 10**6, 3]), "is not between 16"),
        (
            lambda la: la["block_1_pad"]["config"].update(padding=[[0, 10**5], [0, 10**5]]),
            "than in any supported network",
        ),
        (lambda la: la["Conv1"].update(class_name="Evil>Conv9D"), "'Conv1' is a Conv9D, which is not known"),
        (lambda la: la["Conv1_relu"].update(inbound_nodes=[[["nowhere", 0, 0, {}]]]), "'Conv1_relu' has no input"),
        (lambda la: la["Conv1_relu"].update(inbound_nodes=[1, 2]), "is used 2 times"),
        (lambda la: la["Conv1_relu"].pop("config"), "cannot be rebuilt"),
        (lambda la: la["bn_Conv1"]["config"].update(epsilon=0.5), "predictions differ"),
    ],
)
def test_hostile_architectures_are_refused(old, tmp_path, edit, message):
    refused(changed(old, tmp_path, rewrite(edit)), message)


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
