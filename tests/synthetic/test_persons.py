"""Drawn persons: one person looks alike from picture to picture, another one does not."""

import numpy as np
import pytest

from kd_loss.synthetic.face_painter import skin_and_hair
from kd_loss.synthetic.face_shape import FaceShape
from kd_loss.synthetic.persons import FREE, draw_person

pytestmark = pytest.mark.quick


def test_a_picture_is_the_same_each_time_and_changes_from_picture_to_picture():
    first, again, other = (draw_person(64, 0, 3, picture) for picture in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 5
    assert first.attributes["yaw"] != other.attributes["yaw"]


def test_skin_and_hair_are_the_persons():
    known = [[draw_person(48, 0, person, picture).attributes for picture in range(4)] for person in range(6)]
    for pictures in known:
        assert len({(one["skin"], one["hair"]) for one in pictures}) == 1
    assert len({(pictures[0]["skin"], pictures[0]["hair"]) for pictures in known}) > 2


def test_the_shape_is_the_persons_and_its_free_numbers_are_not():
    names = set(FaceShape.__dataclass_fields__)
    assert set(FREE) < names
    assert {"width", "jaw", "chin", "eye_distance", "nose_width", "brow_arch"} <= names - set(FREE)


def test_tones_are_numbers_of_the_palettes():
    skin, hair, tone, kind = skin_and_hair(np.random.default_rng(0))
    assert skin.shape == hair.shape == (3,)
    assert 0 <= tone < 4
    assert 0 <= kind < 6
