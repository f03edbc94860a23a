import numpy as np
import pytest

from kd_loss.imaging import geometry
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme
from tools.free_faces import EYES, TABLE, _crop, free_scheme, landmarks_of

pytestmark = pytest.mark.quick


def test_a_landmark_is_the_mean_of_its_points():
    mesh = np.stack([np.arange(468.0), -np.arange(468.0)], axis=1)
    points = landmarks_of(mesh)
    assert points.shape == (68, 2)
    assert points[8].tolist() == [152, -152]  # the chin
    assert points[3].tolist() == [95, -95]  # between 132 and 58
    assert (points[36, 0], points[45, 0]) == EYES


def test_no_point_stands_for_two_landmarks_but_at_the_jaw():
    inner = [index for points in TABLE[17:] for index in points]
    assert len(inner) == len(set(inner))
    assert len(TABLE) == W300.points


def test_the_crop_is_centred_and_upright():
    affine = _crop(np.array([50.0, 40.0]), 96.0, np.pi / 2)
    assert geometry.apply(affine, np.array([[50.0, 40.0]]))[0] == pytest.approx([96, 96])
    # a head that lies on its side: what is below in the picture is to the right in the crop
    assert geometry.apply(affine, np.array([[50.0, 50.0]]))[0] == pytest.approx([116, 96])


def test_the_scheme_is_that_of_300w_under_another_name():
    scheme = LandmarkScheme.from_dict(free_scheme())
    assert (scheme.name, scheme.points, scheme.test_subsets) == ("free", 68, {})
    assert scheme.flip_index.tolist() == W300.flip_index.tolist()
