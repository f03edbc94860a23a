"""The finder: its maps, its tiles, its files; a stand-in that sees white, and the shipped one on drawn faces."""

from itertools import pairwise

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from kd_loss.detection import Detection, FinderDetector
from kd_loss.detection.finder import LEAST, OF_TILES, _has_contrast, _starts
from kd_loss.detection.finder_format import CHANNELS, LEVELS, decode
from kd_loss.imaging.geometry import landmark_box
from kd_loss.synthetic.faces import draw_face, face_landmarks
from kd_loss.system.errors import UserError
from kd_loss.system.files import write_json

SIZE = 128


def write_white_finder(path, side=16.0, size=SIZE):
    """A finder whose fine map says "a face of `side` pixels" where 8 × 8 pixels are white, and nothing else."""
    nodes = [helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2])]
    weights, outputs = [], []
    for level in LEVELS:
        cell, name = level.stride, f"stride_{level.stride}"
        kernel, bias = np.zeros((CHANNELS, 3, 1, 1), np.float32), np.zeros(CHANNELS, np.float32)
        kernel[0], bias[0] = 20 / 765, -16  # the mean of white is 255 · 3
        bias[3] = np.log(side / level.unit)
        if cell != 8:
            kernel[0] = 0
        weights += [helper.make_tensor(f"k{cell}", TensorProto.FLOAT, kernel.shape, kernel.ravel())]
        weights += [helper.make_tensor(f"b{cell}", TensorProto.FLOAT, bias.shape, bias)]
        nodes += [
            helper.make_node("AveragePool", ["chw"], [f"p{cell}"], kernel_shape=[cell, cell], strides=[cell, cell]),
            helper.make_node("Conv", [f"p{cell}", f"k{cell}", f"b{cell}"], [f"c{cell}"]),
            helper.make_node("Transpose", [f"c{cell}"], [name], perm=[0, 2, 3, 1]),
        ]
        shape = [1, size // cell, size // cell, CHANNELS]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    entry = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, size, size, 3])
    graph = helper.make_graph(nodes, "white", [entry], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    write_json(path.with_suffix(".json"), {"size": size, "min_scores": [0.5, 0.5]})
    return path


@pytest.fixture
def white(tmp_path):
    return write_white_finder(tmp_path / "white.onnx")


def picture(height, width, *squares):
    """Black, with white squares `(x, y, side)`."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = 255
    return image


def test_a_cell_by_hand():
    values = np.full((4, 4, CHANNELS), -9.0)
    # third column, second row of stride 8: the cell's centre is at (19.5, 11.5); lengths are in 32 pixels
    values[1, 2, :4] = [0.0, 0.25, -0.125, np.log(0.5)]
    boxes, scores = decode(values, LEVELS[0], logit=-1.0)
    np.testing.assert_allclose(boxes, [[19.5 + 8 - 8, 11.5 - 4 - 8, 16, 16]])
    np.testing.assert_allclose(scores, [0.5])


def test_a_square_where_it_is(white):
    # the cell of 8 pixels that starts at (40, 64): centre 43.5, 67.5
    [face] = FinderDetector(white)(picture(SIZE, SIZE, (40, 64, 8)))
    np.testing.assert_allclose(face.box, (43.5 - 8, 67.5 - 8, 16, 16), atol=1e-3)
    assert face.score == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)


def test_the_scale_of_the_picture(white):
    # a picture of 512 × 256 is seen at a quarter: the cell at (40, 24) of the input starts at (160, 96)
    [face] = FinderDetector(white)(picture(256, 512, (160, 96, 32)))
    np.testing.assert_allclose(face.box, (4 * 44 - 0.5 - 32, 4 * 28 - 0.5 - 32, 64, 64), atol=1e-2)
    # and one of 64 at twice
    [face] = FinderDetector(white)(picture(64, 32, (8, 12, 4)))
    np.testing.assert_allclose(face.box, (9.5 - 4, 13.5 - 4, 8, 8), atol=1e-2)


def test_a_height_that_is_rounded(white):
    """A picture of 512 × 182 is seen at 128 × 46, 45.5 rounded: y is scaled by 46 / 182, not by a quarter."""
    [face] = FinderDetector(white)(picture(182, 512, (160, 128, 32)))
    # the cells of 8 pixels that see most white start at (40, 32); their centre is 35.5 + 0.5 = 36 of 46 rows down
    middle = face.box[1] + face.box[3] / 2
    assert middle == pytest.approx(36 / 46 * 182 - 0.5, abs=0.01)
    assert face.box[0] + face.box[2] / 2 == pytest.approx(44 / 128 * 512 - 0.5, abs=0.01)


def test_the_least_score(white):
    image = picture(SIZE, SIZE, (40, 64, 8)) - np.uint8(0)
    image[64:72, 40:48] = 204  # 0.8 of white: the logit is 0
    assert len(FinderDetector(white, min_score=0.49)(image)) == 1
    assert FinderDetector(white, min_score=0.51)(image) == []
    assert len(FinderDetector(white, min_score=(0.49, 0.9))(image)) == 1  # that of the map of small faces counts
    assert FinderDetector(white, min_score=(0.51, 0.1))(image) == []
    assert FinderDetector(white)(np.zeros((SIZE, SIZE, 3), np.uint8)) == []


def test_a_wall_is_no_face(white):
    wall = np.full((SIZE, SIZE, 3), 250, np.uint8)
    assert FinderDetector(white)(wall) == []
    wall[64:80, 40:56] = 220  # a spot on it; the boxes around it have contrast
    assert FinderDetector(white)(wall) != []
    for height, width in ((90, 120), (480, 640), (300, 200)):
        assert FinderDetector()(np.full((height, width, 3), 180, np.uint8)) == []


def test_no_face_is_larger_than_the_picture(tmp_path):
    detector = FinderDetector(write_white_finder(tmp_path / "large.onnx", side=100.0))
    assert len(detector(picture(92, SIZE, (40, 64, 8)))) == 1  # 100 of 92 pixels
    assert detector(picture(90, SIZE, (40, 64, 8))) == []


def test_small_faces_in_tiles(white):
    # 8 white pixels are 1 of the input when all 1,024 are seen at once, and 8 in tiles at the full size
    image = picture(1024, 1024, (456, 712, 8), (704, 112, 8))
    assert FinderDetector(white)(image) == []
    found = FinderDetector(white, smallest=10)(image)
    centres = sorted((face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2) for face in found)
    np.testing.assert_allclose(centres, [(459.5, 715.5), (707.5, 115.5)], atol=4.1)
    with pytest.raises(UserError, match="too many tiles"):
        FinderDetector(white, smallest=0.5)(image)


def test_what_is_smaller_than_the_smallest_is_left_out(white):
    image = picture(SIZE, SIZE, (40, 64, 8))  # a face of 16 pixels
    assert len(FinderDetector(white, smallest=15)(image)) == 1
    assert FinderDetector(white, smallest=17)(image) == []


def test_a_dark_face_has_contrast_and_a_dark_wall_has_none():
    noise = np.random.default_rng(0).normal(0, 1, (40, 40, 1))
    face = Detection((0.0, 0.0, 40.0, 40.0), 1.0)
    for mean, spread, has in ((120, 25, True), (120, 6, False), (12, 2.5, True), (8, 0.7, False), (245, 2.5, True)):
        image = np.clip(np.rint(mean + spread * noise), 0, 255).astype(np.uint8).repeat(3, axis=2)
        assert _has_contrast(image, face) == has, (mean, spread)


def test_one_small_face_is_seldom_alone(white):
    """10 white pixels of 256 are 5 of the input, too few; the 16 beside them are 8, a face of an eighth of the side.

    The second look sees 208 of 256 pixels in four tiles that begin at 0 and 80: 10 are 8 there.
    """
    small = (128, 128, 10)
    assert FinderDetector(white)(picture(256, 256, small)) == []
    found = FinderDetector(white)(picture(256, 256, (80, 160, 16), small))
    centres = [(face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2) for face in found]
    assert any(np.hypot(x - 132.5, y - 132.5) < 6 for x, y in centres)
    # and where the only face is large, nothing else is looked for
    alone = write_white_finder(white.with_name("large.onnx"), side=30.0)
    assert len(FinderDetector(alone)(picture(256, 256, (80, 160, 16), small))) == 1


def test_the_last_level_is_that_of_the_smallest(white):
    for smallest in np.linspace(8.1, 23.7, 40):  # 10 / smallest · smallest is not always 10
        views = list(FinderDetector(white)._views(np.zeros((300, 200, 3), np.uint8), float(smallest)))
        levels = list(dict.fromkeys(float(scale.max()) for _, _, scale, _ in views))
        assert levels == sorted(levels)
        if len(levels) > 1:  # else the whole picture shows them large enough
            assert levels[-1] * smallest == pytest.approx(LEAST, rel=5e-3)  # sides are whole pixels
        assert levels[-1] * smallest >= 0.995 * LEAST
        assert all(scale * smallest < 0.999 * LEAST for scale in levels[:-1])


@given(st.integers(1, 5000), st.integers(OF_TILES + 32, 1024))
def test_tiles_cover_and_overlap(length, tile):
    starts = _starts(length, tile)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    assert all(0 < b - a <= tile - OF_TILES for a, b in pairwise(starts))


def test_files_that_are_no_finder(tmp_path, white):
    with pytest.raises(UserError, match=r"no such detector model: .*none\.tflite"):
        FinderDetector(tmp_path / "none.tflite")
    entry, output = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 64, 64, 3]) for n in ("image", "out"))
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "relu", [entry], [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "r.onnx")
    write_json(tmp_path / "r.json", {"size": 64, "min_scores": [0.5, 0.5]})
    with pytest.raises(UserError, match="r.onnx does not run as a finder"):
        FinderDetector(tmp_path / "r.onnx")
    write_json(white.with_suffix(".json"), {"size": SIZE})
    with pytest.raises(UserError, match="not that of a finder"):
        FinderDetector(white)
    write_json(white.with_suffix(".json"), {"size": SIZE, "min_scores": [0.5, 0.5]})
    with pytest.raises(UserError, match="--min-score 2 is not between 0 and 1"):
        FinderDetector(white, min_score=2)
    white.write_bytes(b"no network")
    with pytest.raises(UserError, match="white.onnx does not load"):
        FinderDetector(white)


def test_without_litert_the_onnx_is_taken(white, monkeypatch):
    white.with_suffix(".tflite").write_bytes(b"not opened")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert len(FinderDetector(white.with_suffix(".tflite"))(picture(SIZE, SIZE, (40, 64, 8)))) == 1


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_the_shipped_finder_on_drawn_faces(suffix):
    from kd_loss.detection.finder import shipped_finder

    detector = FinderDetector(shipped_finder().with_suffix(suffix))
    photograph = np.full((400, 640, 3), 170, np.uint8)
    truth = []
    for number, (x, y, side) in enumerate([(60, 50, 300), (430, 120, 200)]):
        photograph[y : y + side, x : x + side] = cv2.GaussianBlur(draw_face(side, 0, number), (0, 0), 0.7)
        truth.append(landmark_box(face_landmarks("w300", side, 0, number) + [x, y]))
    found = detector(photograph)
    assert len(found) == 2
    for face, (x0, y0, x1, y1) in zip(found, truth, strict=True):
        side = max(x1 - x0, y1 - y0)
        assert face.box[2] == pytest.approx(side, rel=0.25)
        centre = np.array(face.box[:2]) + face.box[2] / 2
        assert np.abs(centre - [(x0 + x1) / 2, (y0 + y1) / 2]).max() < 0.15 * side
    assert detector(np.full((300, 200, 3), 190, np.uint8)) == []
