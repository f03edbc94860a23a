import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import from_angles, geodesic, to_angles, to_matrices, to_vectors
from kd_loss.schemes.base import HeadPlacement
from kd_loss.schemes.benchmarks import COFW, LANDMARK_SCHEMES, W300, WFLW
from kd_loss.schemes.generic_head import MIDDLE, POINTS, WIDTH, place_of, pose_in_crop
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.schemes.registry import chosen_scheme, scheme_of
from kd_loss.synthetic.faces import face_landmarks, face_place
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

SCHEME = PoseScheme("own", "w300", mean=(0.1, 0, 0, 0, -0.1, 0.2), deviation=(0.5, 1, 0.25, 0.1, 0.1, 0.2))


def project(rotation, place, focal=4.0):
    """Normalised landmarks (68, 2) of the generic head at a place in head widths; NaN where it has no point."""
    head = (np.array(list(POINTS.values()), float) - MIDDLE) / WIDTH
    before = head @ rotation.T + place
    points = np.full((68, 2), np.nan)
    points[list(POINTS)] = focal * before[:, :2] / before[:, 2:]
    return points


def raw(yaw=0.0, pitch=0.0, roll=0.0, x=0.0, y=0.0, depth=0.0):
    return np.array([to_vectors(from_angles(yaw, pitch, roll)), [x, y, depth]])


@settings(max_examples=30, deadline=None)
@given(yaw=st.floats(-75, 75), pitch=st.floats(-30, 30), roll=st.floats(-40, 40))
def test_the_pose_of_projected_points_comes_back(yaw, pitch, roll):
    found = pose_in_crop(project(from_angles(yaw, pitch, roll), [0.0, 0.0, 6.0]), W300)
    np.testing.assert_allclose(to_angles(to_matrices(found[0])), [yaw, pitch, roll], atol=0.05)
    np.testing.assert_allclose(found[1], [0, 0, np.log(6 / 4)], atol=1e-4)


def test_every_benchmark_has_more_than_six_points_of_the_head():
    rng = np.random.default_rng(0)
    for scheme in (W300, COFW, WFLW):
        points = face_landmarks(scheme.name, 200, 0, 3) + rng.normal(0, 0.1, (scheme.points, 2))
        square = geometry.square_crop(geometry.landmark_box(points), 0.15)
        found = pose_in_crop(geometry.apply(geometry.normalised_affine(square), points), scheme)
        truth = face_place(200, 0, 3).rotation
        assert geodesic(to_matrices(found[0]), truth) < 25  # a drawn head is not the generic one
    few = np.full((68, 2), np.nan)
    few[[36, 45, 30, 48, 54]] = np.random.default_rng(1).uniform(-0.3, 0.3, (5, 2))
    assert pose_in_crop(few, W300) is None
    assert pose_in_crop(np.zeros((68, 2)), W300) is None


@pytest.mark.parametrize("mirrored", [False, True])
def test_moving_in_closed_form_is_the_pose_of_the_moved_points(mirrored):
    for yaw, pitch, roll in ((0, 0, 0), (40, 10, -20), (-60, -15, 10)):
        points = project(from_angles(yaw, pitch, roll), [0.1, -0.1, 6.0])
        affine = geometry.similarity(0.4, 1.1, (0.05, -0.03), mirrored)
        start = SCHEME.stored(pose_in_crop(points, W300))
        closed = SCHEME.raw(SCHEME.move(start, affine, mirrored))
        again = pose_in_crop(W300.move(points, affine, mirrored), W300)
        assert geodesic(to_matrices(closed[0]), to_matrices(again[0])) < 0.2  # the nearer head is a little larger
        np.testing.assert_allclose(closed[1], again[1], atol=0.003)


def test_moving_by_hand():
    turned = geometry.similarity(np.radians(30), 2.0, (0.1, 0.0), False)
    moved = SCHEME.raw(SCHEME.move(SCHEME.stored(raw(roll=10, x=0.2, depth=0.5)), turned, False))
    np.testing.assert_allclose(to_angles(to_matrices(moved[0])), [0, 0, 40], atol=1e-9)
    np.testing.assert_allclose(
        moved[1], [0.1 + 0.4 * np.cos(np.radians(30)), 0.4 * np.sin(np.radians(30)), 0.5 - np.log(2)]
    )
    mirror = geometry.similarity(0.0, 1.0, (0, 0), True)
    moved = SCHEME.raw(SCHEME.move(SCHEME.stored(raw(20, 10, 30, x=0.2)[None]), mirror, True))[0]
    np.testing.assert_allclose(to_angles(to_matrices(moved[0])), [-20, 10, -30], atol=1e-9)
    np.testing.assert_allclose(moved[1], [-0.2, 0, 0], atol=1e-12)


def test_standardised_and_back():
    rng = np.random.default_rng(0)
    targets = rng.normal(0.3, 2.0, (500, 2, 3))
    fitted = SCHEME.fitted(targets)
    numbers = fitted.stored(targets)
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(numbers.std(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(fitted.raw(numbers), targets)
    assert fitted.fitted(np.zeros((3, 2, 3))).deviation == (0.01,) * 6  # what does not vary is not blown up


def test_the_error_of_training_is_the_geodesic_angle():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 0.7, (2, 20, 2, 3))
    truth = geodesic(*(to_matrices(SCHEME.raw(t)[:, 0]) for t in (a, b)))
    found = np.asarray(SCHEME.training_error(a.astype(np.float32), b.astype(np.float32)))
    np.testing.assert_allclose(found, truth, rtol=1e-4)
    np.testing.assert_allclose(SCHEME.apart(a, b, 64)[:, 0], truth)
    exact = np.asarray(SCHEME.training_error(a.astype(np.float32), a.astype(np.float32)))
    assert exact.max() < 0.01


def test_reads_other_poses_raw_numbers_and_landmarks():
    other = PoseScheme("other")
    values = SCHEME.stored(raw(20, 5, 3)[None])
    np.testing.assert_allclose(SCHEME.read(other.stored(SCHEME.raw(values)), other), values, atol=1e-6)
    np.testing.assert_allclose(SCHEME.read(SCHEME.raw(values), None), values, atol=1e-6)
    points = project(from_angles(20, 5, 3), [0, 0, 4.0])
    np.testing.assert_allclose(SCHEME.read(points[None, None], W300)[0], values, atol=2e-3)
    np.testing.assert_allclose(SCHEME.read(np.zeros((1, 68, 2)), W300), 0, atol=1e-6)  # no head: the mean
    assert SCHEME.read(np.zeros((1, 5, 2)), LandmarkScheme("five", 5)) is None
    assert SCHEME.read(np.zeros((1, 5, 2)), None) is None
    assert SCHEME.agrees(SCHEME)
    assert not SCHEME.agrees(other)
    assert not SCHEME.agrees(W300)
    assert not W300.agrees(SCHEME)
    assert W300.read(points[None], W300) is not None
    assert W300.read(values, SCHEME) is None


def test_a_head_that_shows_no_face_has_no_pose():
    affine = np.array([[0.01, 0, -0.5], [0, 0.01, -0.5]])
    with pytest.raises(UserError, match=r"yaw of 120° is outside −99…99"):
        SCHEME.target(np.zeros((68, 2)), HeadPlacement(from_angles(120, 0, 0), (50, 50), 40), affine)
    with pytest.raises(UserError, match="no head pose fits"):
        SCHEME.target(np.zeros((68, 2)), None, affine)
    target = SCHEME.target(np.zeros((68, 2)), HeadPlacement(from_angles(98, 0, 0), (50, 60), 40), affine)
    np.testing.assert_allclose(target[1], [0, 0.1, -np.log(0.4)])


def test_ranges_of_yaw():
    yaws = [0.0, -29, 31, -59, 61, 99]
    targets = SCHEME.stored(np.stack([raw(yaw) for yaw in yaws]))
    rows = {name: indices.tolist() for name, indices in SCHEME.rows(targets).items()}
    assert rows == {"yaw 0–30": [0, 1], "yaw 30–60": [2, 3], "yaw 60–99": [4, 5]}
    assert "yaw 60–99" not in SCHEME.rows(targets[:3])


def test_place_before_the_camera_in_head_widths():
    """A head half a crop wide stands two focal lengths away: 8 head widths; a tenth of the crop aside is 0.2."""
    np.testing.assert_allclose(SCHEME.in_camera(raw(x=0.1, depth=np.log(2))), [0.2, 0, 8])


def test_a_crop_is_taken_again_about_the_head():
    """By hand: the mean head stands 0.1 above the middle; this one 0.2 to the right, half as wide as the mean one."""
    scheme = PoseScheme("own", mean=(0, 0, 0, 0, -0.1, 0.2))
    seen = scheme.stored(raw(yaw=30, x=0.2, y=0.1, depth=0.2 + np.log(2)))
    square = scheme.crop_again(np.array([100.0, 50.0, 80.0]), seen, 0.15)
    # its middle is at (100 + 0.7 · 80, 50 + 0.6 · 80); half the side, so that the head is twice as large in it
    np.testing.assert_allclose(square, [156 - 0.5 * 40, 98 - 0.4 * 40, 40])
    usual = scheme.stored(raw(yaw=-10, y=-0.1, depth=0.2))
    np.testing.assert_allclose(scheme.crop_again(np.array([3.0, 4.0, 50.0]), usual, 0.15), [3, 4, 50])
    points = np.array([[-0.25, -0.25], [0.25, 0.25]])
    five = LandmarkScheme("two", 2, normalisers={"eyes": ((0,), (1,))})
    np.testing.assert_allclose(five.crop_again(np.array([0.0, 0.0, 80.0]), points, 0.5), [0, 0, 80])


def test_a_known_rotation_places_the_head():
    rotation = from_angles(30, -10, 5)
    head = (np.array(list(POINTS.values()), float) - MIDDLE) / WIDTH
    points = np.zeros((68, 2))
    points[list(POINTS)] = (head @ rotation.T)[:, :2] * 120 + [200, 150]  # from far away
    place = place_of(points, W300, rotation)
    np.testing.assert_allclose([*place.middle, place.width], [200, 150, 120])
    assert place_of(points, W300, from_angles(30, -10, 180)) is None  # of no head that is turned so


def test_cards_and_names():
    assert scheme_of(SCHEME.to_dict(), "here") == SCHEME
    assert scheme_of(W300.to_dict(), "here").shape == (68, 2)  # as files without a kind have it
    for wrong in ({"mean": [1.0]}, {"deviation": [0.0] * 6}, {"points": "nothing"}, {"name": 3}, {"focal": "x"}):
        with pytest.raises(UserError, match="pose scheme"):
            scheme_of({**SCHEME.to_dict(), **wrong}, "the card")
    assert chosen_scheme("pose_w300", "") is POSES["pose_w300"]
    assert chosen_scheme("w300", "") is LANDMARK_SCHEMES["w300"]
    with pytest.raises(UserError, match="did you mean 'pose_w300'"):
        chosen_scheme("pose_w30", "")


def test_drawn_poses_are_exact():
    """The painter's own curves, projected from place and rotation alone, are the landmarks."""
    from kd_loss.synthetic.faces import _begin, landmarks_3d

    for index in range(5):
        face, *_ = _begin(200, 7, index)
        place = face_place(200, 7, index)
        curve = (landmarks_3d(face, "w300") - [0, 0.3, -0.2]) * [1, 1, -1] / 2  # in head widths, z away
        turned = curve @ place.rotation.T
        depth = 1 + turned[:, 2:] / 4.5  # nine half widths away
        points = place.middle + place.width * turned[:, :2] / depth
        np.testing.assert_allclose(points, face_landmarks("w300", 200, 7, index), atol=1e-9)
        if abs(face.yaw) > 10:
            assert to_angles(place.rotation)[0] * face.yaw > 0
