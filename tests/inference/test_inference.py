import json

import numpy as np
import pytest

from kd_loss import geometry
from kd_loss.datasets.pts import parse_pts
from kd_loss.datasets.spec import W300
from kd_loss.errors import UserError
from kd_loss.inference.command import find_pictures, result_names
from kd_loss.inference.drawing import draw_landmarks, sheet
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.result import FaceLandmarks
from kd_loss.networks import Card, build_network

POINTS = np.random.default_rng(0).uniform(-0.3, 0.3, (68, 2))


@pytest.fixture(scope="module")
def predictor():
    """A network that always answers with the same normalised points."""
    network = build_network(Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15))
    network.model.get_layer("head").set_weights([np.zeros((1280, 136)), POINTS.reshape(-1)])
    return LandmarkPredictor(network)


def test_a_cropped_face_is_seen_whole(predictor):
    face = predictor(np.zeros((100, 60, 3), np.uint8))
    # the square around a picture of 60 × 100 is 100 wide and starts 20 pixels left of it
    np.testing.assert_allclose(face.landmarks, (POINTS + 0.5) * 100 + [-20.5, -0.5], atol=1e-4)
    assert face.box == pytest.approx((-20.5, -0.5, 100, 100))


def test_a_box_is_widened_as_in_training(predictor):
    face = predictor(np.zeros((200, 200, 3), np.uint8), box=(50, 60, 40, 40))
    square = geometry.square_crop((50, 60, 90, 100), 0.15)
    assert face.box == pytest.approx((*square, square[2]))


def test_many_are_one_by_one(predictor):
    images = [np.full((40 + i, 50, 3), i, np.uint8) for i in range(3)]
    for image, face in zip(images, predictor.predict_many(images), strict=True):
        np.testing.assert_allclose(face.landmarks, predictor(image).landmarks, atol=1e-5)


@pytest.mark.parametrize("image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(predictor, image):
    with pytest.raises(UserError, match="uint8"):
        predictor(image)


def test_text_formats():
    face = FaceLandmarks(np.array([[1.0, 2.0], [3.0, 4.5]]), (0, 0, 9, 9), W300)
    assert json.loads(face.to_json())["landmarks"] == [[1, 2], [3, 4.5]]
    np.testing.assert_allclose(parse_pts(face.to_pts(), 2), face.landmarks)


def test_drawing_leaves_the_picture_alone():
    image = np.zeros((80, 80, 3), np.uint8)
    drawn = draw_landmarks(image, POINTS * 80 + 40, W300)
    assert drawn.any()
    assert not image.any()


def test_sheet():
    pictures = [np.full((4, 6, 3), i, np.uint8) for i in range(3)]
    assert sheet(pictures, 2).shape == (8, 12, 3)


def test_finding_pictures(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt"):
        (tmp_path / name).write_text("")
    assert [p.name for p in find_pictures([str(tmp_path)])] == ["a.JPG", "b.png"]
    with pytest.raises(UserError, match="no such picture"):
        find_pictures(["nowhere.jpg"])
    with pytest.raises(UserError, match="give a picture"):
        find_pictures([])


def test_results_never_overwrite_pictures_or_each_other(tmp_path):
    a, b, c = tmp_path / "x" / "a.jpg", tmp_path / "x" / "a.png", tmp_path / "y" / "b.png"
    out = tmp_path / "out"
    assert [p.name for p in result_names([a, b, c], out)] == ["a_jpg", "a_png", "b"]
    with pytest.raises(UserError, match="lies in the folder of the results"):
        result_names([a], tmp_path / "x")
    with pytest.raises(UserError, match="several pictures are called a_jpg"):
        result_names([a, tmp_path / "y" / "a.jpg"], out)


@pytest.mark.parametrize("shape", [(10, 3000), (3000, 5), (4, 4000)])
def test_thin_pictures(predictor, shape):
    assert np.isfinite(predictor(np.zeros((*shape, 3), np.uint8)).landmarks).all()
