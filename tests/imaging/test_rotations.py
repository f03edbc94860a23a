import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.imaging.rotations import (
    against_ray,
    from_300wlp,
    from_angles,
    geodesic,
    quaternions,
    to_300wlp,
    to_angles,
    to_matrices,
    to_vectors,
)

pytestmark = pytest.mark.quick

ANGLE = st.floats(-80, 80)
NOSE = np.array([0.0, 0.0, -1.0])  # where a face looks, in the head's own axes


@given(yaw=st.floats(-99, 99), pitch=ANGLE, roll=st.floats(-170, 170))
def test_angles_come_back_in_both_conventions(yaw, pitch, roll):
    np.testing.assert_allclose(to_angles(from_angles(yaw, pitch, roll)), [yaw, pitch, roll], atol=1e-9)
    np.testing.assert_allclose(to_300wlp(from_300wlp(yaw * 0.9, pitch, roll)), [yaw * 0.9, pitch, roll], atol=1e-9)


@given(st.tuples(ANGLE, ANGLE, ANGLE))
def test_rotation_vectors_are_opencvs(angles):
    matrix = from_angles(*angles)
    vector = to_vectors(matrix)
    # OpenCV takes a sine below 1e-5 for 0
    if np.linalg.norm(vector) > 1.1e-5:
        np.testing.assert_allclose(vector, cv2.Rodrigues(matrix)[0][:, 0], atol=1e-7)
    np.testing.assert_allclose(to_matrices(vector), matrix, atol=1e-12)
    q = quaternions(matrix)
    assert np.linalg.norm(q) == pytest.approx(1)
    assert abs(q[0]) == pytest.approx(np.cos(np.linalg.norm(vector) / 2))


def test_signs():
    """Right of the picture, up (y points down), clockwise."""
    assert (from_angles(30, 0, 0) @ NOSE)[0] == pytest.approx(0.5)
    assert (from_angles(0, 30, 0) @ NOSE)[1] == pytest.approx(-0.5)
    assert (from_angles(0, 0, 30) @ [1.0, 0, 0])[1] == pytest.approx(0.5)  # its left ear goes down
    np.testing.assert_allclose(from_angles(0, 0, 0), np.eye(3))


def test_their_convention_differs_in_the_sign_of_yaw_and_in_the_order():
    np.testing.assert_allclose(to_300wlp(from_angles(20, 0, 0)), [-20, 0, 0], atol=1e-12)
    np.testing.assert_allclose(to_300wlp(from_angles(0, 20, 0)), [0, 20, 0], atol=1e-12)
    np.testing.assert_allclose(to_300wlp(from_angles(0, 0, 20)), [0, 0, 20], atol=1e-12)
    assert abs(to_300wlp(from_angles(60, 30, 0)) - [-60, 30, 0]).max() > 5


def test_their_matrix_is_that_of_3ddfa():
    """R = Rx Ry Rz with y up and z to the viewer, each transposed; written out for one set of angles."""
    p, y, r = np.radians([10.0, 25.0, -15.0])
    rx = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    ry = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    down = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(from_300wlp(25.0, 10.0, -15.0), down @ rx @ ry @ rz @ down, atol=1e-12)


def test_geodesic_by_hand():
    """Turns about one axis add up; about two axes the cosine of half the angle is the product of theirs."""
    assert geodesic(from_angles(10, 0, 0), from_angles(-25, 0, 0)) == pytest.approx(35)
    both = 2 * np.degrees(np.arccos(np.cos(np.radians(15)) * np.cos(np.radians(20))))
    assert geodesic(np.eye(3), from_angles(30, 40, 0)) == pytest.approx(both)
    assert geodesic(np.eye(3)[None], from_angles([180.0], [0.0], [0.0])) == pytest.approx([180])


def test_against_the_ray_a_face_that_looks_into_the_camera_is_straight():
    """Standing 45 degrees to the right it has turned 45 degrees to the left."""
    np.testing.assert_allclose(against_ray(from_angles(-45, 0, 0), [1.0, 0, 1]), np.eye(3), atol=1e-12)
    matrix = from_angles(10, 20, 30)
    np.testing.assert_allclose(against_ray(matrix, [0.0, 0, 5]), matrix, atol=1e-12)
