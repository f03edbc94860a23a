"""Detectors: from their boxes to the box of the landmarks."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from kd_loss.detection import LOWER, SPREAD, FixedBox, HaarDetector, WholePicture, YuNetDetector
from kd_loss.imaging.geometry import square_crop
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.errors import UserError

SIDE = 320


def write_yunet(path, faces):
    """A network of YuNet's inputs and outputs that always answers with `faces`: five points each, in pixels.

    Its outputs are, for strides 8, 16 and 32: class and object scores, boxes and points relative to their cell.
    """
    nodes, outputs, constants = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)], [], []
    nodes.append(helper.make_node("Mul", ["mean", "nothing"], ["zero"]))
    constants.append(helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]))
    for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            values = np.zeros((1, (SIDE // stride) ** 2, width), np.float32)
            for points in faces if stride == 8 else ():
                column, row = (points.mean(axis=0) // 8).astype(int)
                cell = values[0, row * (SIDE // 8) + column]
                if kind == "kps":
                    cell[:] = (points / 8 - [column, row]).reshape(-1)
                else:
                    cell[:] = [0, 0, np.log(10), np.log(10)] if kind == "bbox" else 0.81
            name = f"{kind}_{stride}"
            constants.append(helper.make_tensor(f"{name}_c", TensorProto.FLOAT, values.shape, values.ravel()))
            nodes.append(helper.make_node("Add", [f"{name}_c", "zero"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "yunet", [entry], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_yunet(tmp_path):
    five = np.array([[80.0, 100], [120, 100], [100, 120], [85, 140], [115, 140]])
    write_yunet(tmp_path / "yunet.onnx", [five, 0.5 * five + 150])
    large, small = YuNetDetector(tmp_path / "yunet.onnx")(np.zeros((SIDE, SIDE, 3), np.uint8))
    middle = five.mean(axis=0)
    side = SPREAD * np.sqrt(((five - middle) ** 2).sum(axis=1).mean())
    x, y, width, height = large.box
    assert (width, height) == pytest.approx((side, side), rel=1e-4)
    np.testing.assert_allclose([x + side / 2, y + side / 2], middle + [0, LOWER * 40], atol=1e-3)
    assert large.score == pytest.approx(0.81, abs=1e-3)
    assert small.box[2] == pytest.approx(side / 2, rel=1e-4)


def test_another_network_is_no_yunet(tmp_path):
    entry, output = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 32, 32]) for n in ("input", "out"))
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["out"])], "relu", [entry], [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(UserError, match="n.onnx does not run as a YuNet model"):
        YuNetDetector(tmp_path / "n.onnx")(np.zeros((32, 32, 3), np.uint8))


def test_haar_finds_a_drawn_face_and_nothing_in_the_sky():
    face = draw_face(300, 0, 5)
    photograph = np.full((500, 700, 3), 180, np.uint8)
    photograph[100:400, 200:500] = face
    found = HaarDetector()(cv2.GaussianBlur(photograph, (0, 0), 1))
    assert len(found) == 1
    x, y, width, height = found[0].box
    assert 200 < x + width / 2 < 500
    assert 100 < y + height / 2 < 400
    assert HaarDetector()(np.full((200, 200, 3), 200, np.uint8)) == []


def test_fixed_and_whole():
    [face] = FixedBox((1, 2, 3, 4))(np.zeros((9, 9, 3), np.uint8))
    assert face.box == (1, 2, 3, 4)
    [face] = WholePicture(0.15)(np.zeros((60, 100, 3), np.uint8))
    x, y, width, height = face.box
    np.testing.assert_allclose(square_crop((x, y, x + width, y + height), 0.15), (-0.5, -20.5, 100))
