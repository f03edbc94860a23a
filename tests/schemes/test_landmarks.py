import json
import os

import numpy as np
import pytest

from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES, get_scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.synthetic.face_shape import FaceShape
from kd_loss.synthetic.faces import landmarks_3d
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("scheme", LANDMARK_SCHEMES.values(), ids=list(LANDMARK_SCHEMES))
def test_mirroring_twice_changes_nothing(scheme):
    np.testing.assert_array_equal(scheme.flip_index[scheme.flip_index], np.arange(scheme.points))


@pytest.mark.parametrize("scheme", LANDMARK_SCHEMES.values(), ids=list(LANDMARK_SCHEMES))
def test_parts_cover_every_point_once(scheme):
    assert sorted(i for part in scheme.parts.values() for i in part) == list(range(scheme.points))


@pytest.mark.parametrize("name", ["w300", "cofw", "wflw"])
def test_the_pairs_are_mirror_images_on_a_symmetric_face(name):
    # a frontal face without gaze is its own mirror image: x of a point is −x of its partner
    face = FaceShape(
        width=1, jaw=0.1, chin=1.4, eye_distance=0.43, eye_size=0.18, brow_height=0.3, brow_arch=0.08,
        nose_width=0.2, nose_length=0.6, mouth_width=0.36, lips=0.1, eye_open=1, mouth_open=0.2, smile=0.5,
        gaze=0, yaw=0, pitch=0, roll=0,
    )  # fmt: skip
    points = landmarks_3d(face, name)
    assert len(points) == LANDMARK_SCHEMES[name].points
    mirrored = points * [-1, 1, 1]
    np.testing.assert_allclose(mirrored[LANDMARK_SCHEMES[name].flip_index], points, atol=1e-9)


def test_known_partners():
    # 300W: outer eye corners 36/45, mouth corners 48/54; WFLW: 60/72 and the pupils; COFW: 8/9
    assert get_scheme("w300").flip_index[[36, 48, 8, 30]].tolist() == [45, 54, 8, 30]
    assert get_scheme("wflw").flip_index[[60, 96, 38, 16, 8]].tolist() == [72, 97, 50, 16, 24]
    assert get_scheme("cofw").flip_index[[8, 20]].tolist() == [9, 20]


def test_a_spec_goes_through_json(tmp_path):
    scheme = get_scheme("wflw")
    (tmp_path / "s.json").write_text(json.dumps(scheme.to_dict()))
    assert LandmarkScheme.from_json(tmp_path / "s.json").to_dict() == scheme.to_dict()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a"}, "'points' is missing"),
        ({"name": "a", "points": 0}, "whole number"),
        ({"name": "a", "points": 3, "pairs": [[0, 3]]}, "index 3 is not in 0…2"),
        ({"name": "a", "points": 3, "pairs": [[0, 1], [1, 2]]}, "two left/right pairs"),
        ({"name": "a", "points": 3, "normalisers": {"d": [[0]]}}, "malformed"),
        ({"name": "a", "points": 3, "parts": 4}, "malformed"),
        ({"name": "a", "points": 3, "parts": {"eyes": []}}, "has no points"),
        ({"name": "a", "points": 3, "normalisers": {"e": [[0], [0]]}}, "not a distance between two places"),
        ({"name": "a", "points": 3, "normalisers": {"box": [[0], [1]]}}, "not a distance between two places"),
        ({"name": "a", "points": 3, "edges": [[0, True]]}, "index True"),
        ({"name": "a", "points": 3, "part": {}}, "unknown field 'part'"),
        *(({"name": "a", "points": 3, "half": half}, "malformed") for half in ([], [0], [0, 1, 2], "", 0, {})),
        ({"name": "a", "points": 3, "parts": {"\ud800": [0]}}, "text that is not Unicode"),
    ],
)
def test_bad_specs_are_one_line(values, message):
    with pytest.raises(UserError, match=message):
        LandmarkScheme.from_dict(values)


def test_an_unknown_dataset_gets_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'wflw'"):
        get_scheme("wlfw")


def test_a_spec_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match="the scheme .*a.json is not a regular file"):
        LandmarkScheme.from_json(tmp_path / "a.json")


def test_the_place_of_a_mistake_in_a_scheme_is_reported(tmp_path):
    (tmp_path / "a.json").write_text('{"name": "a",}')
    with pytest.raises(UserError, match="is not JSON: .*line 1 column"):
        LandmarkScheme.from_json(tmp_path / "a.json")


def test_a_spec_of_a_hundred_thousand_brackets_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not JSON"):
        LandmarkScheme.from_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["a\0b", "a\udc80", "a\nb"])
def test_names_that_no_file_can_hold_are_one_line(text):
    for fields in (
        {"name": text},
        {"names": (text, "b")},
        {"parts": {text: (0,)}},
        {"normalisers": {text: ((0,), (1,))}},
    ):
        with pytest.raises(UserError) as caught:
            LandmarkScheme(**{"name": "two", "points": 2, **fields})
        assert len(str(caught.value).splitlines()) == 1
