"""The page finds what Python finds."""

import base64
import hashlib
import json
import re
import shutil
import tarfile

import cv2
import numpy as np
import pytest

from kd_loss.detection import FinderDetector, FixedBox, WholePicture
from kd_loss.export import web
from kd_loss.export.web import RUNTIME, copy_runtime, write_page
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.sources import read_picture
from kd_loss.networks import Card, build_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.drawing import encode_png
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.errors import UserError
from tests.export.browser import open_page


@pytest.fixture(scope="module")
def page(tmp_path_factory, synthetic):
    """A page with a network of random weights, and the Python side of it."""
    if shutil.which("npm") is None:
        pytest.skip("no npm to fetch onnxruntime-web with")
    mean = synthetic.split("train").landmarks.mean(axis=0)
    card = Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 96, "student", 0.15)
    network = build_network(card, mean_shape=mean)
    folder = tmp_path_factory.mktemp("page") / "best-web"
    write_page(network, folder, "", "fp32", None)
    confirming(folder, wanders=9.0)  # this network has learned nothing
    return folder, LandmarkPredictor.load(folder / "model.onnx", confirm=False)


def confirming(folder, **limits):
    """Let a page draw faces whose landmarks wander that far, or overlap by so much."""
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | limits))


def check(page, picture, query, squares, refine):
    folder, predictor = page
    (folder / "face.png").write_bytes(picture)
    image = read_picture(folder / "face.png")
    answer = open_page(folder, f"picture=face.png&refine={refine}{query}", folder.parent / "page.png")
    assert answer["result"], answer["said"]
    assert "68 landmarks" in answer["said"]
    expected = predictor.detect(image, squares, refine)
    found = np.array(answer["result"]["faces"])
    np.testing.assert_allclose(found, [face.landmarks for face in expected], atol=0.5)
    np.testing.assert_array_equal(answer["result"]["landmarks"], found[0])
    shot = cv2.imread(str(folder.parent / "page.png"))
    assert ((shot[..., 2] > 200) & (shot[..., 1] < 100)).sum() > 200  # red lines on the face
    return answer


def test_a_drawn_face(page):
    check(page, encode_png(draw_face(250, 0, 3)), "&crop=1", WholePicture(0.15), 0)


def test_the_page_finds_the_faces_that_python_finds(page):
    picture = np.full((400, 640, 3), 170, np.uint8)
    for number, (x, y, side) in enumerate([(60, 50, 300), (430, 120, 200)]):
        picture[y : y + side, x : x + side] = cv2.GaussianBlur(draw_face(side, 0, number), (0, 0), 0.7)
    answer = check(page, encode_png(picture), "", FinderDetector(), 1)
    assert len(answer["result"]["faces"]) == 2


def test_the_page_looks_again_where_a_face_is_small_and_leaves_out_what_wanders(page):
    """Two small drawn faces on a large picture, as many as Python finds; with no leave to wander none."""
    picture = np.full((700, 900, 3), 170, np.uint8)
    for number, (x, y, side) in enumerate([(100, 80, 110), (600, 420, 60)]):
        picture[y : y + side, x : x + side] = cv2.GaussianBlur(draw_face(side, 0, number), (0, 0), 0.7)
    (page[0] / "small.png").write_bytes(encode_png(picture))
    expected = FinderDetector()(picture)
    answer = open_page(page[0], "picture=small.png", page[0].parent / "small.png")
    assert len(answer["result"]["faces"]) == len(expected) >= 1
    confirming(page[0], wanders=0.0)
    try:
        answer = open_page(page[0], "picture=small.png", page[0].parent / "small.png")
    finally:
        confirming(page[0], wanders=9.0)
    assert answer["result"]["faces"] == []
    assert answer["said"].startswith("No face was found here")
    confirming(page[0], twice=-1.0)  # as if any two were predictions of one face
    try:
        answer = open_page(page[0], "picture=small.png", page[0].parent / "small.png")
    finally:
        confirming(page[0], twice=0.5)
    assert len(answer["result"]["faces"]) == 1


def test_the_page_refuses_other_objects(page):
    folder, _ = page
    (folder / "wall.png").write_bytes(encode_png(np.full((300, 400, 3), 190, np.uint8)))
    answer = open_page(folder, "picture=wall.png", folder.parent / "wall.png")
    assert answer["result"]["faces"] == []
    assert answer["said"].startswith("No face was found here")
    answer = open_page(folder, "picture=wall.png&box=50,60,200,200", folder.parent / "wall.png")
    assert answer["result"]["faces"] == []
    assert answer["said"].startswith("There seems to be no face in this box")


def test_a_real_face_in_a_box(page, real_faces):
    picture = (real_faces / "samples" / "300w" / "indoor_020.png").read_bytes()  # with a colour profile
    check(page, picture, "&box=120,180,440,470", FixedBox((120, 180, 440, 470)), 1)


def test_the_page_needs_no_other_host(page):
    folder, _ = page
    assert {p.name for p in (folder / "ort").iterdir()} == set(RUNTIME)
    for name in ("index.html", "landmarks.mjs", "finder.mjs", "network.mjs", "pictures.mjs"):
        assert "//" not in (folder / name).read_text().replace("// ", "").replace('"://', "")
    card = json.loads((folder / "card.json").read_text())
    assert (card["size"], card["points"], card["margin"]) == (96, 68, 0.15)


def test_the_runtime_from_a_folder_or_an_archive(tmp_path, monkeypatch):
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name in RUNTIME:
        (tmp_path / "package" / "dist" / name).write_text(name)
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    for number, source in enumerate(("package", "package.tgz")):
        copy_runtime(tmp_path / source, tmp_path / str(number))
        assert sorted(p.read_text() for p in (tmp_path / str(number)).iterdir()) == sorted(RUNTIME)
    (tmp_path / "package" / "dist" / RUNTIME[0]).unlink()
    for number, source in enumerate(("package", "nowhere", "0/" + RUNTIME[1])):
        with pytest.raises(UserError, match="is not the npm package onnxruntime-web"):
            copy_runtime(tmp_path / source, tmp_path / f"bad{number}")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="npm is not installed; give --web-runtime"):
        web._fetch(tmp_path)


def test_the_page_tells_which_points_are_visible(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("no npm to fetch onnxruntime-web with")
    card = Card(
        "mobileNetV2", 0.35, "w300", W300.to_dict(), 64, "student", 0.15, head="heatmap", cut="P4", visibility=True
    )
    network = build_network(card)
    for layer in network.model.layers:  # random weights say one half of everything
        if layer.name == "visibility_each":
            layer.set_weights([5 * layer.get_weights()[0], np.linspace(-2, 2, 68)])
    write_page(network, tmp_path / "page", "", "fp32", None)
    picture = draw_face(200, 0, 3)
    (tmp_path / "page" / "face.png").write_bytes(encode_png(picture))
    answer = open_page(tmp_path / "page", "picture=face.png&refine=0&crop=1", tmp_path / "page.png")
    assert answer["result"], answer["said"]
    [face] = LandmarkPredictor.load(tmp_path / "page" / "model.onnx").detect(picture, WholePicture(0.15), 0)
    np.testing.assert_allclose(answer["result"]["visibility"][0], face.visibility, atol=0.01)
    assert (face.visibility < 0.5).any()
    assert (face.visibility > 0.5).any()


@pytest.mark.parametrize("name", ["index.html", "keypoints.html"])
def test_the_page_has_a_policy_that_allows_its_own_script_alone(name):
    text = web._with_policy((web.PAGE / name).read_text(encoding="utf-8"))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    script = text.partition('<script type="module">')[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
