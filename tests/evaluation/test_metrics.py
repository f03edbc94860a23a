import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.evaluation.metrics import (
    Score,
    auc,
    bootstrap_interval,
    ced,
    failure_rate,
    normalising_distance,
    part_errors,
    point_errors,
    worst,
)
from kd_loss.schemes.benchmarks import COFW, W300, WFLW
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

errors = st.lists(st.floats(0, 60), min_size=1, max_size=40).map(np.array)


@pytest.mark.parametrize(("scheme", "left", "right"), [(W300, 36, 45), (COFW, 8, 9), (WFLW, 60, 72)])
def test_inter_ocular_is_the_distance_of_the_outer_eye_corners(scheme, left, right):
    face = np.zeros((1, scheme.points, 2))
    face[0, left], face[0, right] = (10, 20), (40, 60)
    assert normalising_distance(face, scheme, "inter_ocular") == pytest.approx([50])


def test_inter_pupil_is_the_distance_of_the_eyes_means_where_there_are_no_pupils():
    face = np.zeros((1, 68, 2))
    face[0, 36:42], face[0, 42:48] = (0, 0), (30, 40)
    assert normalising_distance(face, W300, "inter_pupil") == pytest.approx([50])
    face = np.zeros((1, 98, 2))
    face[0, 97] = (6, 8)
    assert normalising_distance(face, WFLW, "inter_pupil") == pytest.approx([10])


def test_box_is_the_root_of_its_area_or_its_longer_side():
    face = np.array([[[0, 0], [40, 10], [20, 0]]])
    assert normalising_distance(face, LandmarkScheme("x", 3), "box") == pytest.approx([20])
    assert normalising_distance(face, LandmarkScheme("x", 3), "box_side") == pytest.approx([40])


def test_a_distance_of_zero_is_one_line():
    with pytest.raises(UserError, match="face 0 has a normalising distance"):
        normalising_distance(np.zeros((1, 68, 2)), W300, "inter_ocular")


def test_nme_by_hand():
    truth = np.zeros((1, 2, 2))
    predicted = np.array([[[3.0, 4.0], [0.0, 1.0]]])
    # 5 and 1 pixels over 50: 10 % and 2 %
    np.testing.assert_allclose(point_errors(predicted, truth, [50]), [[10, 2]])


def test_failure_rate_auc_and_ced_by_hand():
    nme = [5.0, 9.0, 11.0, 20.0]
    assert failure_rate(nme, 0.08) == 75
    assert failure_rate(nme, 0.10) == 50
    # (0.05 + 0.01) / 4 / 0.1
    assert auc(nme, 0.10) == pytest.approx(0.15)
    np.testing.assert_allclose(ced(nme, [4.9, 5, 10, 30]), [0, 0.25, 0.5, 1])


@given(errors)
def test_the_exact_auc_is_the_integral_of_the_ced(nme):
    grid = (np.arange(20_000) + 0.5) / 20_000 * 10
    assert auc(nme, 0.10) == pytest.approx(ced(nme, grid).mean(), abs=2e-3)


@given(errors)
def test_failure_rate_is_one_minus_the_ced(nme):
    assert failure_rate(nme, 0.10) == pytest.approx(100 * (1 - ced(nme, [10.0])[0]))


def test_a_perfect_and_a_hopeless_detector():
    assert (auc([0.0], 0.1), auc([99.0], 0.1)) == (1.0, 0.0)


def test_the_interval_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = bootstrap_interval(values)
    assert (high - low) == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert low < values.mean() < high


def test_a_score_and_the_worst_faces():
    score = Score.of([4.0, 12.0])
    assert (score.faces, score.mean, score.fr_08, score.fr_10) == (2, 8.0, 50.0, 50.0)
    assert worst([3.0, 9.0, 5.0], 2) == [1, 2]


def test_parts():
    values = np.zeros((1, 29))
    values[0, 28] = 7
    assert part_errors(values, COFW)["chin"] == 7
    assert part_errors(values, COFW)["eyes"] == 0
