"""Composed pictures: what they say about their faces is where the faces are."""

import cv2
import numpy as np

from tools.finder import compose
from tools.finder.compose import Composer, _Canvas
from tools.finder.faces import FacePicture

GREY = FacePicture(np.full((90, 120, 3), 90, np.uint8), np.zeros((0, 13)), np.zeros((0, 3)), "grey")


def green_face():
    """A black picture whose face is a green square of 40 pixels at (30, 50), its mouth corners blue and red."""
    image = np.zeros((120, 100, 3), np.uint8)
    image[30:70, 10:50] = (0, 200, 0)
    row = np.array([29.5, 49.5, 40, 20, 40, 40, 40, 30, 50, 20, 60, 40, 60])
    return FacePicture(image, row[None], np.zeros((0, 3)), "green")


def test_a_paste_by_hand():
    canvas = _Canvas(96)
    canvas.paste(green_face(), 0.5, 0.0, False, np.array([29.5, 49.5]), np.array([47.5, 47.5]), None)
    [row], unsure = canvas.rows()
    np.testing.assert_allclose(row[:3], [47.5, 47.5, 20])
    np.testing.assert_allclose(row[3:7], [47.5 - 4.75, 47.5 - 4.75, 47.5 + 5.25, 47.5 - 4.75])
    assert unsure.shape == (0, 3)
    assert tuple(canvas.image[47, 47]) == (0, 200, 0)
    assert canvas.image[:, :36].max() == 0


def test_mirrored_points_change_places():
    canvas = _Canvas(96)
    canvas.paste(green_face(), 1.0, 0.0, True, np.array([29.5, 49.5]), np.array([47.5, 47.5]), None)
    [row], _ = canvas.rows()
    np.testing.assert_allclose(row[3:7], [47.5 - 10.5, 38, 47.5 + 9.5, 38])  # left of the picture first


def test_a_face_outside_is_not_kept():
    canvas = _Canvas(96)
    canvas.paste(green_face(), 1.0, 0.0, False, np.array([29.5, 49.5]), np.array([-3.0, 40.0]), None)
    assert len(canvas.rows()[0]) == 0
    canvas.paste(green_face(), 1.0, 0.0, False, np.array([29.5, 49.5]), np.array([40.0, 40.0]), (60, 0, 90, 90))
    assert len(canvas.rows()[0]) == 0  # the part without it was pasted


def test_faces_are_where_the_composer_says(monkeypatch):
    monkeypatch.setattr(compose, "_recolour", lambda image, rng: image)
    monkeypatch.setattr(compose, "COVERED", 0.0)
    composer = Composer([[green_face()]], [1.0], [GREY], 128)
    seen = 0
    for seed in range(60):
        image, faces, _ = composer(np.random.default_rng(seed))
        assert image.shape == (128, 128, 3)
        for x, y, side, *_ in faces:
            if 8 < side < 90:
                assert image[round(y), round(x), 1] > 150
                assert image[round(y), round(x), 0] < 60
                seen += 1
    assert seen > 30


def test_the_same_seed_the_same_picture():
    composer = Composer([[green_face()]], [1.0], [GREY], 64)
    first, second = (composer(np.random.default_rng((3, 1))) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], composer(np.random.default_rng((3, 2)))[0])


def test_pasted_rectangles_hide_no_face():
    canvas = _Canvas(128)
    canvas.paste(green_face(), 1.0, 0.0, False, np.array([29.5, 49.5]), np.array([40.0, 40.0]), None)
    assert not canvas.free(np.array([60.0, 60.0]), 10)
    assert canvas.free(np.array([90.0, 90.0]), 20)


def test_blurred_halves_are_used_for_small_faces():
    # stripes of one pixel vanish in a picture an eighth as large instead of leaving every eighth of them
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = FacePicture(stripes, np.zeros((0, 13)), np.zeros((0, 3)), "stripes")
    canvas = _Canvas(32)
    canvas.paste(picture, 0.1, 0.0, False, np.array([160.0, 160.0]), np.array([16.0, 16.0]), None)
    assert np.ptp(cv2.cvtColor(canvas.image, cv2.COLOR_RGB2GRAY)[4:28, 4:28].astype(int)) <= 2
