"""The head of 68 and of AFLW's 21 points: views, what is hidden, translation."""

import numpy as np
import pytest

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.benchmarks import AFLW21, W300
from kd_loss.schemes.full_head import AFLW, FULL, aflw_as_68, fit_head

pytestmark = pytest.mark.quick

#: point of AFLW -> the same of the 68
SAME = {own: index for own, index in enumerate(AFLW21.same["w300"]) if index is not None}


def seen_from(yaw, roll=0.0, scale=0.1, shift=(50.0, 60.0)):
    """The 21 and the 68 points of the head turned by `yaw` degrees to the right of the picture."""
    angle = np.radians(roll)
    flat = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = to_matrices([0.0, -np.radians(yaw), 0.0])
    return tuple((points @ turn.T)[:, :2] @ flat.T + shift for points in (AFLW, FULL))


def test_the_head_is_its_own_mirror_image():
    for points, spec in ((FULL, W300), (AFLW, AFLW21)):
        np.testing.assert_allclose(points[spec.flip_index] * [-1, 1, 1], points)


@pytest.mark.parametrize("yaw", [-80, -40, 0, 30, 90])
@pytest.mark.parametrize("roll", [0, 35])
def test_the_view_is_found(yaw, roll):
    own, full = seen_from(yaw, roll)
    hidden = own.copy()
    hidden[AFLW[:, 0] * np.sign(yaw) > 0] = np.nan  # a face that looks right hides the points on the picture's right
    view = fit_head(hidden)
    assert (view.yaw, view.pitch) == (yaw, 0)
    assert view.misfit < 1e-6
    np.testing.assert_allclose(view.points, full, atol=1e-6)


def test_a_profile_that_looks_left_has_its_nose_left_of_its_jaw():
    _, full = seen_from(-90)
    assert full[30, 0] < full[[0, 16], 0].min()


def test_points_that_both_have_move_by_what_the_annotations_differ():
    own, full = seen_from(-60, 20)
    own[[6, 13, 12]] = np.nan
    landmarks, outline = aflw_as_68(own)
    known = sorted(index for point, index in SAME.items() if point != 6)
    assert np.flatnonzero(np.isfinite(landmarks[:, 0])).tolist() == known
    np.testing.assert_allclose(landmarks[known], full[known], atol=1e-6)
    np.testing.assert_allclose(outline, full, atol=1e-6)
    # 14 and 17 units of the head, along its own axis
    assert np.linalg.norm(landmarks[30] - own[14]) == pytest.approx(1.4)
    assert np.linalg.norm(landmarks[8] - own[20]) == pytest.approx(1.7)


def test_two_points_are_enough_for_a_crop():
    own, full = seen_from(0)
    points = np.full((21, 2), np.nan)
    points[[14, 20]] = own[[14, 20]]
    square = geometry.square_crop(geometry.landmark_box(aflw_as_68(points)[1]), 0.15)
    np.testing.assert_allclose(square, geometry.square_crop(geometry.landmark_box(full), 0.15), atol=1e-6)


def test_the_crops_of_annotated_faces_fit(real_faces):
    """Reduced to what AFLW would annotate, 300W's faces have nearly the crop of all their points."""
    from kd_loss.archives.w300 import read_w300

    own = {**SAME, 0: 17, 1: 19, 4: 24, 5: 26}
    sides = []
    for sample in read_w300(real_faces / "300W").samples[:300]:
        points = np.full((21, 2), np.nan)
        points[list(own)] = sample.landmarks[list(own.values())]
        found, truth = (
            geometry.square_crop(geometry.landmark_box(p), 0.15) for p in (aflw_as_68(points)[1], sample.landmarks)
        )
        sides.append(found[2] / truth[2])
    assert np.median(sides) == pytest.approx(1, abs=0.03)
    assert np.percentile(sides, [10, 90]) == pytest.approx([1, 1], abs=0.1)
