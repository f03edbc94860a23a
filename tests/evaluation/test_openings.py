"""Openings of eyes and mouth by hand."""

import numpy as np
import pytest

from kd_loss.evaluation.openings import OPENINGS, opening_errors, openings
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES


def face(eye=4.0, mouth=10.0):
    """68 points: both eyes and the inner lips open by so many pixels."""
    points = np.zeros((68, 2))
    for up, down, gap in ((37, 41, eye), (38, 40, eye), (43, 47, eye), (44, 46, eye)):
        points[down] = points[up] + (0, gap)
    for up, down in ((61, 67), (62, 66), (63, 65)):
        points[down] = points[up] + (0, mouth)
    return points


def test_openings_by_hand():
    """4 and 10 pixels of 50; one pair of a mouth twice as far apart: (10 + 10 + 20) / 3."""
    wide = face()
    wide[65] = (0, 20)
    [[first, second]] = openings(face()[None], [50], OPENINGS["w300"]["eyes"])
    assert (first, second) == (8, 8)
    assert openings(wide[None], [50], OPENINGS["w300"]["mouth"]) == pytest.approx(100 * 40 / 3 / 50)


def test_errors_of_shut_eyes_that_are_drawn_open():
    truth = np.stack([face(eye=0), face(eye=4), face(eye=6)])
    predicted = np.stack([face(eye=3), face(eye=4), face(eye=5)])
    found = opening_errors(predicted, truth, [50, 50, 50], "w300")
    eyes = found["eyes"]
    # +6, 0 and −2 % of 50 pixels, each twice
    assert (eyes.count, eyes.true, eyes.error, eyes.bias) == pytest.approx((6, 20 / 3, 8 / 3, 4 / 3))
    assert eyes.correlation == pytest.approx(1)
    assert (found["mouth"].error, found["mouth"].correlation) == (0, 0)  # all equally open: no order to tell


def test_points_that_are_not_known_are_omitted():
    truth = np.stack([face(), face()])
    truth[0, 37] = np.nan
    assert opening_errors(truth, truth, [50, 50], "w300")["eyes"].count == 3
    assert "mouth" not in opening_errors(truth, np.where(np.arange(68)[:, None] == 61, np.nan, truth), [50, 50], "w300")
    assert opening_errors(truth, truth, [50, 50], "cat") == {}


@pytest.mark.parametrize("name", OPENINGS)
def test_pairs_are_of_their_region_and_mirror_into_each_other(name):
    scheme = LANDMARK_SCHEMES[name]
    for region, groups in OPENINGS[name].items():
        assert {i for pairs in groups for pair in pairs for i in pair} <= set(scheme.parts[region])
        pairs = {pair for group in groups for pair in group}
        assert {(scheme.flip_index[up], scheme.flip_index[down]) for up, down in pairs} == pairs
