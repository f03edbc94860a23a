"""How well visible points are teacher_landmarks from hidden ones."""

import numpy as np
import pytest

from kd_loss.evaluation.visibility import groups_of, reliability_plot, score_visibility

pytestmark = pytest.mark.quick


def test_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    values, labels = rng.random(60).round(1), rng.integers(0, 2, 60)
    pairs = [(a > b) + (a == b) / 2 for a in values[labels == 1] for b in values[labels == 0]]
    assert score_visibility(values[None], labels[None]).auc == pytest.approx(np.mean(pairs))


def test_figures_by_hand():
    said = np.array([[0.9, 0.8, 0.1], [0.3, 0.5, 0.5]])
    labels = np.array([[1, 0, 0], [0, np.nan, 1]], np.float32)
    score = score_visibility(said, labels, spread=np.array([[1.0, 2, 3], [4, 5, 6]]))
    assert (score.labels, score.hidden) == (5, 60.0)
    # visible 0.9, 0.5; hidden 0.8, 0.1, 0.3: five of six pairs in order
    assert score.auc == pytest.approx(5 / 6)
    # narrow taken as visible: -1, -6 against -2, -3, -4: three of six
    assert score.spread_auc == pytest.approx(1 / 2)
    assert score.brier == pytest.approx((0.01 + 0.64 + 0.01 + 0.09 + 0.25) / 5)
    # each value in a group of its own
    assert score.calibration == pytest.approx((0.1 + 0.8 + 0.1 + 0.3 + 0.5) / 5)


def test_one_kind_of_label_gives_no_score():
    said = np.full((2, 2), 0.5)
    assert score_visibility(said, np.ones((2, 2))) is None
    assert score_visibility(said, np.full((2, 2), np.nan)) is None


def test_the_groups_and_the_plot():
    said, truth = np.array([0.02, 0.04, 0.96, 1.0]), np.array([False, True, True, True])
    assert groups_of(said, truth) == [(pytest.approx(0.03), 0.5, 2), (pytest.approx(0.98), 1.0, 2)]
    assert reliability_plot(said[None], truth[None].astype(float))[:4] == b"\x89PNG"
