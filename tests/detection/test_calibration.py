"""From a detector's box to the landmark box of a scheme."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.detection import BoxCalibration, Detection
from kd_loss.detection.calibration import FEWEST, measure
from kd_loss.system.errors import UserError


def test_by_hand():
    # found 100 wide at (10, 20), landmarks from (40, 60) to (80, 90): 40 wide around (60, 75), found around (60, 70)
    calibration = BoxCalibration.fit([[10, 20, 100, 100]] * 2, [[40, 60, 80, 90]] * 2)
    assert (calibration.x, calibration.y, calibration.side) == pytest.approx((0.0, 0.05, 0.4))
    assert calibration.faces == 2
    assert calibration.spread == pytest.approx((0, 0, 0))
    np.testing.assert_allclose(calibration((110, 220, 200, 200)), (210 - 40, 320 + 10 - 40, 80, 80))


@given(
    st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 5),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(5, 500)),
)  # fmt: skip
def test_what_was_fitted_is_found_again(x, y, side, place):
    truth = BoxCalibration(x, y, side)
    boxes = [(place[0], place[1], size, size) for size in (place[2], 2 * place[2])]
    landmarks = [(a, b, a + w, b + h) for a, b, w, h in map(truth, boxes)]
    fitted = BoxCalibration.fit(boxes, landmarks)
    np.testing.assert_allclose((fitted.x, fitted.y, fitted.side), (x, y, side), atol=1e-6)
    read = BoxCalibration.from_dict(fitted.to_dict(), "it")
    np.testing.assert_allclose((read.x, read.y, read.side), (x, y, side), atol=1e-4)


def test_a_scheme_that_was_not_measured_keeps_the_box():
    assert BoxCalibration.from_dict({}, "it")((1, 2, 30, 30)) == (1, 2, 30, 30)


@pytest.mark.parametrize("values", [{"x": 0}, {"x": "a", "y": 0, "side": 1}, {"x": 0, "y": 0, "side": 1, "spread": 3}])
def test_malformed(values):
    with pytest.raises(UserError, match="the card has a malformed calibration"):
        BoxCalibration.from_dict(values, "the card")


@pytest.mark.parametrize("values", [{"x": 0, "y": 0, "side": 0}, {"x": float("nan"), "y": 0, "side": 1}])
def test_senseless(values):
    with pytest.raises(UserError, match="the card has an impossible calibration"):
        BoxCalibration.from_dict(values, "the card")


def faces(count):
    """`count` pictures with landmarks from (30, 40) to (50, 60), one point of which nobody annotated."""
    points = np.array([[30.0, 40], [50, 60], [40, 50], [np.nan, np.nan]])
    return [(lambda: np.zeros((90, 90, 3), np.uint8), points)] * count


def test_measured_where_the_detector_sees_one_face_there():
    answers = iter([[Detection((20, 30, 40, 40), 1.0), Detection((70, 70, 9, 9), 1.0)]] * FEWEST + [[]] * 3)
    calibration, looked = measure(faces(FEWEST + 3), lambda image: next(answers))
    assert looked == FEWEST + 3
    assert calibration is not None
    assert (calibration.x, calibration.y, calibration.side, calibration.faces) == (0, 0, 0.5, FEWEST)


def test_too_few_faces_give_no_result():
    two_at_once = [Detection((20, 30, 40, 40), 1.0), Detection((25, 35, 40, 40), 1.0)]
    assert measure(faces(20), lambda image: two_at_once) == (None, 20)
    assert measure(faces(FEWEST - 1), lambda image: two_at_once[:1]) == (None, FEWEST - 1)


def test_chance_detections_give_no_calibration():
    answers = iter(([[Detection((20, 30, 40, 40), 1.0)]] + [[]] * 3) * 15)
    assert measure(faces(60), lambda image: next(answers)) == (None, 60)


def test_a_small_face_of_a_crowd_is_searched_in_its_surroundings():
    """A detector that sees nothing below a tenth of a picture: the faces are 20 of 400 px, their surroundings 100."""
    places = np.random.default_rng(0).integers(60, 320, (FEWEST, 2))

    def face(place):
        picture = np.zeros((400, 400, 3), np.uint8)
        picture[place[1] : place[1] + 20, place[0] : place[0] + 20] = 255
        return (lambda: picture), np.array([[0.0, 0.0], [20.0, 10.0]]) + place + 0.0

    def detector(picture):
        if max(picture.shape) > 200:
            return []
        y, x = (float(v) for v in np.argwhere(picture[..., 0]).min(axis=0))
        return [Detection((x - 10, y - 10, 40.0, 40.0), 1.0)]

    calibration, looked = measure(map(face, places), detector)
    assert looked == FEWEST
    assert calibration is not None
    assert (calibration.x, calibration.y, calibration.side) == pytest.approx((0, -5 / 40, 0.5))
