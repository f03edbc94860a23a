"""Crops for recognition: five points come to lie where the field's convention has them."""

import numpy as np
import pytest

from kd_loss.imaging import geometry
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.recognition.alignment import TEMPLATE, Cropper, aligning_affine, five_points, warp
from kd_loss.synthetic.persons import draw_person

LANDMARKS = np.random.default_rng(0).uniform(20, 90, (68, 2))


def test_five_points_of_68():
    eyes = LANDMARKS[36:42].mean(axis=0), LANDMARKS[42:48].mean(axis=0)
    np.testing.assert_allclose(five_points(LANDMARKS), [*eyes, *LANDMARKS[[30, 48, 54]]])


@pytest.mark.parametrize("size", [112, 64])
def test_an_exact_face_lands_on_the_template(size):
    face = LANDMARKS.copy()
    back = geometry.similarity(-0.2, 2.0, (30, 10), False)
    eyes, (nose, left, right) = geometry.apply(back, TEMPLATE[:2]), geometry.apply(back, TEMPLATE[2:])
    face[36:42], face[42:48], face[30], face[48], face[54] = eyes[0], eyes[1], nose, left, right
    placed = geometry.apply(aligning_affine(face, size), five_points(face))
    np.testing.assert_allclose((placed + 0.5) / size, (TEMPLATE + 0.5) / 112, atol=1e-9)


def test_a_shrunk_crop_is_averaged_and_stays_in_place():
    image = np.zeros((400, 400, 3), np.uint8)
    image[100:300, 100:300] = 255
    crop = warp(image, geometry.crop_affine([-0.5, -0.5, 400], 40), 40)
    assert crop[20, 20].tolist() == [255] * 3
    assert np.abs(crop[..., 0].mean() - 255 / 4) < 4


def test_faces_are_found_and_where_none_is_the_middle_is_taken():
    cropper = Cropper(LandmarkPredictor.load(), 64)
    face, none = cropper([draw_person(128, 0, 0, 0).image, np.full((80, 100, 3), 90, np.uint8)])
    assert (face.faces, none.faces) == (1, 0)
    found = five_points(geometry.denormalise(face.landmarks, 112))
    assert np.abs(found - TEMPLATE).max() < 12  # a similarity cannot fit five points exactly
    assert np.isnan(none.landmarks).all()
    assert (none.image == 90).all()
