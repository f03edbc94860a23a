import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.schemes.drawing import draw_pose
from kd_loss.schemes.head_pose import HEAD, HeadPose, camera_matrix, head_pose, pose_points, rotation
from kd_loss.schemes.rotations import against_ray, to_angles
from kd_loss.schemes.spec import COFW, SPECS, W300, WFLW, DatasetSpec


def project(pose, spec, height=480, width=640, at=(40.0, -30.0, 2500.0)):
    """Landmarks of the generic head, turned, before the camera."""
    points = (HEAD @ rotation(pose).T + at) @ camera_matrix(height, width).T
    landmarks = np.zeros((spec.points, 2))
    landmarks[list(pose_points(spec))] = points[:, :2] / points[:, 2:]
    return landmarks


@given(yaw=st.floats(-60, 60), pitch=st.floats(-40, 40), roll=st.floats(-60, 60))
def test_the_pose_comes_back(yaw, pitch, roll):
    for spec in (W300, WFLW, COFW):
        found = head_pose(project(HeadPose(yaw, pitch, roll), spec), spec, 480, 640)
        seen = to_angles(against_ray(rotation(HeadPose(yaw, pitch, roll)), (40.0, -30.0, 2500.0)))
        np.testing.assert_allclose([found.yaw, found.pitch, found.roll], seen, atol=0.1)


def test_a_head_at_the_edge_of_the_picture_that_looks_into_the_camera_looks_straight():
    """What its crop shows: in the camera's own axes it is turned by 45 degrees."""
    landmarks = project(HeadPose(-45, 0, 0), W300, at=(2500.0, 0.0, 2500.0))
    found = head_pose(landmarks, W300, 480, 640)
    np.testing.assert_allclose([found.yaw, found.pitch, found.roll], 0, atol=0.1)


def test_signs():
    """To the right of the picture, up, clockwise: where nose, mouth and eyes go."""
    flat = (0.0, 0.0, 1e6)  # from far away, so that only the rotation counts
    straight = project(HeadPose(0, 0, 0), W300, at=flat)
    nose, right_eye, left_eye = 30, 36, 45

    def nose_between_eyes(landmarks):
        return landmarks[nose] - landmarks[[right_eye, left_eye]].mean(axis=0)

    assert nose_between_eyes(project(HeadPose(30, 0, 0), W300, at=flat))[0] > 0.01
    assert nose_between_eyes(project(HeadPose(0, 20, 0), W300, at=flat))[1] < nose_between_eyes(straight)[1]
    rolled = project(HeadPose(0, 0, 15), W300, at=flat)
    slope = rolled[left_eye] - rolled[right_eye]
    assert np.degrees(np.arctan2(slope[1], slope[0])) == pytest.approx(15, abs=1e-3)


def test_schemes_without_the_points_have_no_pose():
    own = DatasetSpec("mine", 68)
    assert head_pose(np.zeros((68, 2)), own, 10, 10) is None
    assert head_pose(np.zeros((68, 2)), W300, 10, 10) is None  # all in one place
    # of half a face six points would be too few
    assert {name for name, spec in SPECS.items() if not pose_points(spec)} == {"cfp30"}


def test_axes_of_a_head_that_looks_to_the_right():
    image = np.zeros((200, 200, 3), np.uint8)
    corners = np.array([[50.0, 50], [150, 150]])
    drawn = draw_pose(image, HeadPose(90, 0, 0), corners)
    # the line of sight is blue, from the middle to the right
    assert drawn[100, 130].argmax() == 2
    assert drawn[100, 130].max() > 200
    assert not drawn[100, 70].any()
