"""Paired differences between methods, over trainings and faces.

A difference is claimed for trainings, not only for the tested faces. Two tests cover different sources of
chance. The bootstrap resamples seeds and faces, but with S seeds it reproduces (S − 1) / S of their variance, without
tails: with three seeds it finds far too many differences between equal methods. A t test of the S seed means accounts
for the small S, but not for the choice of faces. A difference counts if both agree: p is the larger of
the two, the interval the union of both. `tools/false_alarms.py` measures error rates, coverage and power.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kd_loss.evaluation.metrics import Score
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.result import Result

Array = NDArray[np.float64]
AnyResult = Result | PoseResult
BASELINE = "none"
#: the row of the network that all students start from (`--init`)
START = "start"
#: draws of the bootstrap; its p is 2 / RESAMPLES at least
RESAMPLES = 4000


@dataclass(frozen=True)
class Finding:
    """A two-sided p, and the interval of the mean difference, of one test."""

    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Difference:
    """A method against another, paired by seed and face.

    Attributes:
        mean: of the difference, in the unit of the errors; below 0 the method is better.
        seeds: S, trainings of each method.
        low, high, p: of the difference between trainings, on other faces, too: the union of the intervals and the
            larger p of the bootstrap and the t test. None for a single training, which cannot generalise to others.
        faces_low, faces_high: the bootstrap interval over faces alone, for these particular networks.
    """

    mean: float
    seeds: int
    low: float | None
    high: float | None
    p: float | None
    faces_low: float
    faces_high: float


@lru_cache(maxsize=2)
def _draws(seeds: int, faces: int, resamples: int, seed: int) -> tuple[Array, Array]:
    """Draw how often each resample has each seed (R, S) and each face (R, N), the same for all compared methods."""
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(count, np.full(count, 1 / count), resamples) for count in (seeds, faces)]
    return drawn[0].astype(np.float64), drawn[1].astype(np.float64)


def bootstrap_test(difference: Array, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Finding:
    """Run the percentile bootstrap on differences (S, N), drawing seeds and faces with replacement."""
    return _bootstraps(difference, level, resamples, seed)[0]


def _bootstraps(difference: Array, level: float, resamples: int, seed: int) -> tuple[Finding, Finding]:
    """Run the bootstrap over seeds and faces, and that over faces alone, on differences (S, N)."""
    seeds, faces = difference.shape
    drawn_seeds, drawn_faces = _draws(seeds, faces, resamples, seed)
    by_seed = drawn_faces @ difference.T / faces
    found = []
    for means in ((drawn_seeds * by_seed).sum(axis=1) / seeds, by_seed.mean(axis=1)):
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        tail = min(float(np.mean(means <= 0)), float(np.mean(means >= 0)))
        found.append(Finding(float(low), float(high), min(1.0, 2 * max(tail, 1 / resamples))))
    return found[0], found[1]


def t_test(seed_means: ArrayLike, level: float = 0.95) -> Finding | None:
    """Student's t test of the mean differences of S seeds (S,) against 0, with S − 1 degrees of freedom.

    Returns None unless two seeds differ: for one training, or the same one several times.

    >>> round(t_test([-0.25, -0.52, -0.54]).p, 3)
    0.043
    """
    from scipy import stats

    means = np.asarray(seed_means, np.float64)
    if len(means) < 2 or np.ptp(means) <= 1e-9 * max(1.0, float(np.abs(means).max())):
        return None
    test = stats.ttest_1samp(means, 0.0)
    interval = test.confidence_interval(level)
    return Finding(float(interval.low), float(interval.high), float(test.pvalue))


def paired_difference(
    values: ArrayLike, baseline: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Compute the mean of `values − baseline`, (S, N) each: S seeds of one method, paired, on the same N faces.

    Args:
        values: errors of the method, (S, N). Faces without an error (NaN) in any training of either are
            ignored.
        baseline: errors of the reference method, (S, N), in the same order of seeds and faces.
        level: confidence level of the intervals, 0…1.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Raises:
        ValueError: no face has an error in all of them.
    """
    difference = np.atleast_2d(np.asarray(values, np.float64) - np.asarray(baseline, np.float64))
    difference = difference[:, ~np.isnan(difference).any(axis=0)]
    seeds, faces = difference.shape
    if not faces:
        raise ValueError("no face has an error in all trainings")
    both, of_faces = _bootstraps(difference, level, resamples, seed)
    about = {"mean": float(difference.mean()), "faces_low": of_faces.low, "faces_high": of_faces.high}
    trainings = t_test(difference.mean(axis=1), level)
    if trainings is None:
        return Difference(seeds=seeds, low=None, high=None, p=None, **about)
    low, high = min(both.low, trainings.low), max(both.high, trainings.high)
    return Difference(seeds=seeds, low=low, high=high, p=max(both.p, trainings.p), **about)


def holm(p: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979): each is multiplied by the number of those not smaller.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    corrected, so_far = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = so_far
    return corrected


def summarise(
    results: Mapping[str, Sequence[AnyResult]],
    seconds: Mapping[str, float],
    failures: Mapping[str, str],
    seeds: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Compute mean and standard deviation over seeds of every metric, and the paired difference to `none`.

    Differences are paired by seed and by face (`paired_difference`); `p` is corrected for the number of compared
    methods. A seed that failed in one of two is excluded from their difference; `seeds` are those of each method's
    results.
    """
    methods: dict[str, Any] = {}
    metric = next(iter(results.values()))[0].split.scheme.metric
    base = dict(zip(seeds.get(BASELINE, ()), results.get(BASELINE, ()), strict=True))
    for method, runs in results.items():
        scores = [run.scores() for run in runs]
        more = [run.more() for run in runs]
        nme = {row: [score[row].mean for score in scores] for row in scores[0]}
        full: list[Score] = [score["full"] for score in scores]
        entry: dict[str, Any] = {
            "seeds": len(runs),
            metric: {row: {"mean": float(np.mean(v)), "std": _std(v)} for row, v in nme.items()},
            "fr_10": float(np.mean([score.fr_10 for score in full])),
            "auc_10": float(np.mean([score.auc_10 for score in full])),
            **{name: float(np.mean([one[name] for one in more])) for name in more[0]},
            "seconds_per_epoch": seconds.get(method),
        }
        if method not in (BASELINE, START):
            own = dict(zip(seeds[method], runs, strict=True))
            if both := [seed for seed in own if seed in base]:
                first, second = (np.stack([these[seed].values for seed in both]) for these in (own, base))
                entry["against_none"] = asdict(paired_difference(first, second))
        methods[method] = entry
    tested = [entry["against_none"] for entry in methods.values() if "against_none" in entry]
    compared = [difference for difference in tested if difference["p"] is not None]
    for difference, p in zip(compared, holm([difference["p"] for difference in compared]), strict=True):
        difference["p"] = p
    return {"methods": methods, "failures": dict(failures)}


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _paired(gain: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a difference in words, and its p."""
    if gain is None:
        return "–", "–"
    if gain["p"] is None:
        return f"{gain['mean']:+.2f} (of faces alone: {gain['faces_low']:+.2f}…{gain['faces_high']:+.2f})", "–"
    return f"{gain['mean']:+.2f} ({gain['low']:+.2f}…{gain['high']:+.2f})", f"{gain['p']:.3f}"


def rows_of(
    summary: Mapping[str, Any],
    metric: str,
    shares: tuple[str, str],
    more: Sequence[str],
    labels: Mapping[str, str] | None = None,
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a comparison's table.

    Args:
        summary: the result of `summarise`.
        metric: name of the error in the summary, that of the scheme.
        shares: column titles of the failure rate and of the area under the curve.
        more: further columns, keys of the summary.
        labels: row of the report -> title of its column, by default the row's name.
    """
    methods = summary["methods"]
    names = list(next(iter(methods.values()))[metric])
    titles = [(labels or {}).get(name, name) for name in names]
    header = ["method", *titles, *more, "against none, 95 %", "p", *shares, "s per epoch", "seeds"]
    rows = []
    for method, entry in methods.items():
        cells = []
        for name in names:
            spread = entry[metric][name]["std"]
            cells.append(f"{entry[metric][name]['mean']:.2f}" + (f" ± {spread:.2f}" if spread is not None else ""))
        cells += [f"{entry[name]:.4f}" if name == "akd" else f"{entry[name]:.2f}" for name in more]
        pace = entry["seconds_per_epoch"]
        rest = [f"{entry['fr_10']:.2f}", f"{entry['auc_10']:.3f}", "–" if pace is None else f"{pace:.1f}"]
        rows.append([method, *cells, *_paired(entry.get("against_none")), *rest, str(entry["seeds"])])
    return header, rows


def explanation(seeds: int) -> list[str]:
    """Return the report's explanation of ±, intervals and p, given the number of seeds."""
    if seeds < 2:
        return ["One training each: the interval is over faces alone, and says nothing about other trainings; no p."]
    return [
        "± is the standard deviation over seeds. Differences are paired by seed and face: the interval is the union of",
        f"those of a bootstrap over seeds and faces and of a t test of the {seeds} seeds' means, p the larger of both,",
        "corrected for the number of methods (Holm).",
    ]
