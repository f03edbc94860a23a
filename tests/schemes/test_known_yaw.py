"""Poses of which only the yaw is known: the rest is the student's, and has no gradient."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import from_angles, to_angles, to_matrices, to_vectors
from kd_loss.schemes import known_yaw
from kd_loss.schemes.base import HeadPlacement
from kd_loss.schemes.pose import POSES, PoseScheme

SCHEME = PoseScheme("own", "w300", mean=(0.1, 0, 0, 0, -0.1, 0.2), deviation=(0.5, 1, 0.25, 0.1, 0.1, 0.2))
angle = st.floats(-80, 80)


def about_z(turn):
    return to_matrices([0.0, 0.0, turn])


@settings(max_examples=30, deadline=None)
@given(yaw=st.floats(-98, 98), turn=st.floats(-1, 1), pose=st.tuples(angle, st.floats(-50, 50), angle))
def test_the_completed_rotation_has_the_true_yaw_and_the_predicted_pitch_and_roll(yaw, turn, pose):
    predicted = from_angles(*pose)
    given = known_yaw.moved(known_yaw.encoded(np.radians(yaw))[None], turn, mirrored=False)
    whole = known_yaw.completed(np.float32(given), np.float32(to_vectors(predicted)[None]))
    whole = to_matrices(keras.ops.convert_to_numpy(whole)[0])
    own = to_angles(about_z(turn).T @ predicted)  # before the crop was rotated
    np.testing.assert_allclose(to_angles(about_z(turn).T @ whole), [yaw, *own[1:]], atol=0.02)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_face_of_known_yaw_moves_as_a_level_one_does(mirrored):
    affine = np.array([[0.9, -0.3, 0.05], [0.3, 0.9, 0.02]])
    place = [0.1, -0.2, 0.3]
    level = SCHEME.stored(np.stack([to_vectors(from_angles(40, 0, 0)), place]))
    known = SCHEME.stored(np.stack([known_yaw.encoded(np.radians(40)), place]))
    a, b = (SCHEME.raw(SCHEME.move(target[None], affine, mirrored))[0] for target in (level, known))
    np.testing.assert_allclose(known_yaw.level(b[0]), a[0], atol=1e-9)
    np.testing.assert_allclose(a[1], b[1], atol=1e-12)
    assert known_yaw.is_encoded(b[0])


def test_completing_keeps_what_is_known():
    whole = np.float32(SCHEME.stored(np.stack([to_vectors(from_angles(20, 5, -10)), [0.1, 0.1, 0.1]])))
    predicted = np.float32(SCHEME.stored(np.stack([to_vectors(from_angles(-30, 15, 12)), [0, 0, 0]])))
    lost = np.where([[True], [False]], np.nan, whole).astype(np.float32)
    known = np.float32(SCHEME.stored(np.stack([known_yaw.encoded(np.radians(20)), [0.1, 0.1, 0.1]])))
    result = keras.ops.convert_to_numpy(SCHEME.completed(np.stack([whole, lost, known]), np.stack([predicted] * 3)))
    np.testing.assert_allclose(result[0], whole, atol=1e-6)
    np.testing.assert_allclose(result[1], [predicted[0], whole[1]], atol=1e-6)  # no rotation at all
    np.testing.assert_allclose(to_angles(to_matrices(SCHEME.raw(result[2])[0])), [20, 15, 12], atol=1e-3)
    np.testing.assert_allclose(result[2, 1], whole[1], atol=1e-6)


def test_statistics_are_of_whole_poses_and_a_missing_number_elsewhere_is_malformed():
    whole = np.tile(np.stack([to_vectors(from_angles(20, 5, -10)), [0.1, 0.1, 0.1]]), (3, 1, 1))
    known = np.stack([known_yaw.encoded(1.4), [0.5, 0.5, 0.5]])[None]
    scheme = POSES["pose_w300"]
    assert scheme.fitted(np.concatenate([whole, known])) == scheme.fitted(whole)
    missing = np.zeros((5, 2, 3), bool)
    missing[1, 0, 2] = True  # only the yaw
    missing[2, 0] = True  # no rotation
    missing[3, 0, 0] = True
    missing[4, 1, 2] = True
    np.testing.assert_array_equal(
        scheme.malformed(missing), [[False] * 2, [False] * 2, [False] * 2, [True, False], [False, True]]
    )


def test_a_placement_keeps_the_yaw_alone_if_told_so():
    place = HeadPlacement(from_angles(70, 20, 5), (30.0, 40.0), 50.0, known_yaw=(97.0, 60.0), yaw_alone=True)
    affine = geometry.normalised_affine(np.array([0.0, 0.0, 100.0]))
    target = place.through(affine)
    assert np.degrees(target[0, :2]) == pytest.approx([97, 60])
    # 97 degrees is the yaw of a head that leans: it is not refused as one beyond 99, seen along the image's axes
    np.testing.assert_array_equal(SCHEME.target(np.zeros((2, 2)), place, affine), target)
    assert np.isnan(target[0, 2])
    assert np.isfinite(target[1]).all()
    assert list(SCHEME.rows(SCHEME.stored(target)[None])) == ["yaw 60–99"]
