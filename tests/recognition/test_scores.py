"""The figures of verification and identification, on numbers that can be checked by hand."""

import numpy as np
import pytest

from kd_loss.recognition.scores import (
    area,
    best_threshold,
    equal_error,
    identification,
    over_folds,
    roc,
    true_at_false,
    verification,
)

pytestmark = pytest.mark.quick

SAME = np.array([True, True, True, False, False, False])
SCORES = np.array([0.9, 0.8, 0.3, 0.4, 0.2, 0.1])


def test_the_threshold_of_a_fold_is_chosen_on_the_others():
    # alone, fold 2 would be right at 0.65; fold 1 says 0.35
    scores = np.array([0.5, 0.2, 0.8, 0.5])
    same, fold = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    found = over_folds(scores, same, fold)
    assert found.threshold.tolist() == pytest.approx([0.65, 0.35])
    assert found.accuracy.tolist() == [0.5, 0.5]
    assert found.to_dict()["threshold_deviation"] == pytest.approx(0.3 / np.sqrt(2))


def test_the_best_threshold_never_parts_equal_scores():
    assert best_threshold(np.array([0.5, 0.5, 0.5]), np.array([True, True, False])) < 0.5


def test_auc_is_the_share_of_ordered_pairs():
    far, tar, _ = roc(SCORES, SAME)
    wanted = np.mean([a > b for a in SCORES[SAME] for b in SCORES[~SAME]])  # 8 of 9
    assert area(far, tar) == pytest.approx(wanted)
    assert (far[0], tar[0], far[-1], tar[-1]) == (0, 0, 1, 1)


def test_equal_error_rate():
    assert equal_error(*roc(SCORES, SAME)[:2]) == pytest.approx(1 / 3)
    assert equal_error(*roc(np.array([1.0, 0.0]), np.array([True, False]))[:2]) == 0


def test_a_rate_below_one_in_the_negatives_is_not_measurable():
    assert true_at_false(SCORES, SAME, 1 / 3) == 1  # one of 0.4, 0.2 and 0.1 may pass: above 0.2 are all same pairs
    assert true_at_false(np.array([0.9, 0.3, 0.4, 0.35]), np.array([True, True, False, False]), 0.5) == 0.5
    assert true_at_false(SCORES, SAME, 0.3) is None
    assert verification(SCORES, SAME, np.array([1, 2, 3, 1, 2, 3]))["tar_at_far"] == dict.fromkeys(
        ("0.1", "0.01", "0.001", "0.0001")
    )


def test_identification_counts_members_and_strangers():
    gallery = np.eye(3)[:2]
    probes = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0], [0.5, 0, np.sqrt(0.75)]])
    found = identification(gallery, ["a", "b"], probes, ["a", "a", "x", "y"], rates=(0.5, 0.1))
    assert (found["mated"], found["non_mates"]) == (2, 2)
    assert found["rank1"] == 0.5  # the second probe of a looks like b
    assert found["tpir_at_fpir"] == {"0.5": 0.5, "0.1": None}
