import shutil

import numpy as np
import pytest

from kd_loss.keypoints import export as keypoints
from kd_loss.keypoints.clips import square
from kd_loss.keypoints.export import KeypointExportOptions, by_shape, run_export_keypoints
from kd_loss.networks.keypoint_detector import KeypointCard, build_detector, save_detector
from kd_loss.runtimes.files import embedded_card, open_runtime
from kd_loss.schemes.drawing import encode_png
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.errors import UserError
from tests.export.browser import open_page


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "best.h5"
    detector = build_detector(KeypointCard("tiny", 1.0, 4, 64))
    rng = np.random.default_rng(0)
    for name in ("keypoint_maps", "jacobian_maps"):
        layer = detector.model.get_layer(name)
        kernel, bias = layer.get_weights()
        layer.set_weights([rng.normal(0, 0.01, kernel.shape), bias])
    save_detector(detector, path)
    return path, detector


def test_files_find_the_same_keypoints_and_jacobians(weights):
    pytest.importorskip("tf2onnx")
    path, detector = weights
    written = run_export_keypoints(KeypointExportOptions(weights=str(path)))
    assert sorted(file.name for file in written) == ["best-fp32.onnx", "best-fp32.tflite"]
    faces = np.stack([draw_face(64, 3, i) for i in range(2)]).astype(np.float32)
    wanted = detector.model.predict(faces, verbose=0)
    for file in written:
        found = by_shape(open_runtime(file)(faces), 4)
        assert found[0] == pytest.approx(wanted["keypoints"], abs=1e-3)
        assert found[1] == pytest.approx(wanted["jacobians"], abs=1e-3)
        assert embedded_card(file)["kind"] == "keypoints"


@pytest.fixture(scope="module")
def page(weights, tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("no npm to fetch onnxruntime-web with")
    folder = tmp_path_factory.mktemp("export")
    assert (
        run_export_keypoints(KeypointExportOptions(weights=str(weights[0]), format=["web"], output=str(folder))) == {}
    )
    return folder / "best-web"


@pytest.mark.parametrize(("width", "height"), [(64, 64), (160, 128), (213, 150), (60, 50)])
def test_the_page_finds_the_same_keypoints(page, weights, width, height):
    """In the middle of the picture: all of it, 128 of 160 columns at half the size, between two sizes, enlarged."""
    picture = np.zeros((height, width, 3), np.uint8)
    left = (width - height) // 2
    picture[:, left : left + height] = draw_face(height, 0, 3)
    (page / "face.png").write_bytes(encode_png(picture))
    answer = open_page(page, "picture=face.png", page.parent / "page.png")
    assert answer["said"].startswith("4 keypoints, ")
    seen = square(picture, 64, 1.0)
    wanted = weights[1].model.predict(seen[None].astype(np.float32), verbose=0)
    pixels = ((wanted["keypoints"][0] + 1) / 2 * 63 + 0.5) * height / 64 - 0.5 + [left, 0]
    np.testing.assert_allclose(answer["result"]["keypoints"], pixels, atol=0.05 * height / 64)
    slopes = np.reshape(answer["result"]["jacobians"], (4, 2, 2))
    np.testing.assert_allclose(slopes, wanted["jacobians"][0], atol=5e-3)


def test_a_file_that_differs_is_not_left_behind(weights, tmp_path, monkeypatch):
    monkeypatch.setitem(keypoints.TOLERANCE, "fp32", -1.0)
    with pytest.raises(UserError, match=r"not written, keypoints differ too much: best-fp32.tflite"):
        run_export_keypoints(KeypointExportOptions(weights=str(weights[0]), format=["litert"], output=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_what_an_export_did_not_write_is_not_replaced(weights, tmp_path):
    (tmp_path / "best-fp32.tflite").write_text("mine")
    with pytest.raises(UserError, match="kd-loss did not write it"):
        run_export_keypoints(KeypointExportOptions(weights=str(weights[0]), format=["litert"], output=str(tmp_path)))
    assert (tmp_path / "best-fp32.tflite").read_text() == "mine"


def test_options_are_checked():
    with pytest.raises(UserError, match="give the weights"):
        KeypointExportOptions().check()
    with pytest.raises(UserError, match="unknown format"):
        run_export_keypoints(KeypointExportOptions(weights="x", format=["core"]))
