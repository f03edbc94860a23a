"""Paired differences by hand: two tests, the larger p, the union of intervals, nothing for a single training."""

from types import SimpleNamespace

import numpy as np
import pytest

from kd_loss.comparison.summary import (
    bootstrap_test,
    explanation,
    holm,
    paired_difference,
    rows_of,
    summarise,
    t_test,
)
from kd_loss.evaluation.metrics import Score


def test_three_seed_means_by_hand():
    """By KD-Loss against the trunk alone, of docs/experiments/trunk.md; 2 degrees of freedom have a closed form."""
    means = np.array([6.63 - 6.87, 6.59 - 7.11, 6.57 - 7.11])
    t = means.mean() / (means.std(ddof=1) / np.sqrt(3))
    found = t_test(means)
    assert found.p == pytest.approx(1 - abs(t) / np.sqrt(2 + t**2))
    assert found.p == pytest.approx(0.0465, abs=1e-4)
    half = 4.30265 * means.std(ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((means.mean() - half, means.mean() + half), abs=1e-4)


def test_seeds_that_differ_are_judged_by_the_t_test():
    """No face differs from another: the bootstrap sees two thirds of the variance, and no tails."""
    difference = np.repeat([[-0.2], [-0.6], [-0.7]], 50, axis=1)
    found, drawn, trainings = (
        paired_difference(difference, 0 * difference),
        bootstrap_test(difference),
        t_test([-0.2, -0.6, -0.7]),
    )
    assert drawn.p < 0.001 < trainings.p
    assert (found.p, found.low, found.high) == pytest.approx((trainings.p, trainings.low, trainings.high))
    assert found.low < drawn.low < drawn.high < 0 < found.high
    assert (found.mean, found.seeds) == (pytest.approx(-0.5), 3)


def test_faces_that_differ_are_judged_by_the_bootstrap():
    """Ten faces, two of them far worse, in all trainings alike: these trainings agree, other faces would not."""
    faces = np.array([-1.0] * 8 + [4.0, 5.5])
    difference = faces + np.array([[-0.01], [0.0], [0.01]])
    found, drawn, trainings = (
        paired_difference(difference, 0 * difference),
        bootstrap_test(difference),
        t_test(difference.mean(axis=1)),
    )
    assert trainings.p < 0.002 < 0.5 < drawn.p
    assert (found.p, found.low, found.high) == pytest.approx((drawn.p, drawn.low, drawn.high))


def test_an_interval_without_0_is_a_p_below_a_twentieth():
    rng = np.random.default_rng(0)
    for shift in np.linspace(-0.6, 0.6, 25):
        found = paired_difference(rng.normal(shift, 1, (3, 40)) + rng.normal(0, 0.1, (3, 1)), np.zeros((3, 40)))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


@pytest.mark.parametrize("seeds", [[0.0], [0.0, 0.0, 0.0]])
def test_a_single_training_does_not_generalise(seeds):
    """Nor does one that is counted three times."""
    faces = np.random.default_rng(1).normal(-1, 0.5, 200)
    found = paired_difference(faces + np.array(seeds)[:, None], np.zeros((len(seeds), 200)))
    assert (found.low, found.high, found.p) == (None, None, None)
    assert found.faces_low == pytest.approx(found.mean - 1.96 * 0.5 / np.sqrt(200), abs=0.02)
    assert found.faces_high == pytest.approx(found.mean + 1.96 * 0.5 / np.sqrt(200), abs=0.02)


def test_faces_without_an_error_are_excluded():
    values = np.array([[1.0, np.nan, 3.0, 2.0], [2.0, 9.0, 4.0, 2.5]])
    found = paired_difference(values, np.zeros((2, 4)))
    assert found == paired_difference(values[:, [0, 2, 3]], np.zeros((2, 3)))
    with pytest.raises(ValueError, match="no face has an error in all trainings"):
        paired_difference(np.array([[np.nan]]), np.zeros((1, 1)))


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


class Run:
    """What `summarise` asks a result for."""

    split = SimpleNamespace(scheme=SimpleNamespace(metric="nme"))

    def __init__(self, values):
        self.values = np.asarray(values, float)

    def scores(self):
        return {"full": Score.of(self.values)}

    def more(self):
        return {}


def test_differences_are_paired_by_seed_also_where_one_failed():
    """Better by 0.4 and by 0.6; the seeds differ by more than that, and one of the two lacks the first."""
    base = {seed: Run(np.array([5.0, 6.0, 7.0]) + shift) for seed, shift in ((0, 0.0), (1, 2.0), (2, -2.0))}
    own = {seed: Run(base[seed].values - gain) for seed, gain in ((1, 0.4), (2, 0.6))}
    observed = summarise(
        {"none": list(base.values()), "kd": list(own.values())}, {}, {}, {"none": list(base), "kd": list(own)}
    )
    gain = observed["methods"]["kd"]["against_none"]
    # one degree of freedom: t = 0.5 / 0.1, p = 1 − 2 / π · arctan 5
    assert (gain["mean"], gain["p"]) == pytest.approx((-0.5, 1 - 2 / np.pi * np.arctan(5)))
    assert gain["low"] == pytest.approx(-0.5 - 12.7062 * 0.1, abs=1e-4)
    observed = summarise({"none": [base[0]], "kd": [own[1]]}, {}, {}, {"none": [0], "kd": [1]})
    assert "against_none" not in observed["methods"]["kd"]


def test_p_is_corrected_for_those_methods_that_have_one():
    base = [Run(np.array([5.0, 6.0, 7.0]) + shift) for shift in (0.0, 1.0, 2.0)]
    better = [Run(run.values - gain) for run, gain in zip(base, (0.5, 0.6, 0.7), strict=True)]
    level = [Run(run.values - gain) for run, gain in zip(base, (0.5, -0.6, 0.2), strict=True)]
    seeds = {"none": [0, 1, 2], "better": [0, 1, 2], "level": [0, 1, 2], "once": [0]}
    observed = summarise({"none": base, "better": better, "level": level, "once": better[:1]}, {}, {}, seeds)["methods"]
    alone = paired_difference(np.stack([r.values for r in better]), np.stack([r.values for r in base]))
    assert observed["better"]["against_none"]["p"] == pytest.approx(2 * alone.p)
    assert observed["once"]["against_none"]["p"] is None
    header, rows = rows_of({"methods": observed}, "nme", ("FR", "AUC"), [], {"full": "full (official, 3 of 3)"})
    assert header[1] == "full (official, 3 of 3)"
    cells = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert (cells["once"]["p"], cells["none"]["p"]) == ("–", "–")
    assert cells["once"]["against none, 95 %"].startswith("-0.50 (of faces alone: ")
    assert cells["better"]["against none, 95 %"].startswith("-0.60 (-")


def test_the_report_explains_its_intervals():
    assert "nothing about other trainings" in explanation(1)[0]
    assert "of the 5 seeds' means" in " ".join(explanation(5))
