"""How often `compare` calls equal methods different, and finds a true difference: `python tools/false_alarms.py`.

Trainings are made up: the error of a method's training s on face n is

    base_n + taste_mn + a_ms + e_msn,

with `taste` what the method does to a face in every training (0 in the mean over all faces), `a` how good a training
is as a whole, and `e` what a training does to a face, with heavy tails (Student's t with 5 degrees of freedom). All
are drawn anew in each repeat, so that rates are those over other faces and other trainings. One method is the
baseline of all others, as in `compare`. Differences between methods with equal means are false alarms.

The regimes are like records of `docs/experiments`, 172 test faces, NME in %: students with heatmaps (over seeds
± 0.05…0.10), pooled ones from a teacher's trunk (± 0.1…0.3), pooled ones from random weights (± 0.4…1.0, where `a` is
skewed: some trainings are late).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kd_loss.comparison.summary import bootstrap_test, holm, paired_difference

FACES = 172
LEVEL = 0.05


@dataclass(frozen=True)
class Regime:
    """Standard deviations, in points of NME: `training` of a, `face` of e, `taste`; whether `a` is skewed."""

    name: str
    training: float
    face: float
    taste: float
    skewed: bool = False


REGIMES = (
    Regime("heatmap students", 0.04, 0.8, 0.35),
    Regime("from a trunk", 0.15, 1.0, 0.35),
    Regime("random weights", 0.70, 2.0, 0.70, skewed=True),
)


def trainings(regime: Regime, methods: int, seeds: int, rng: np.random.Generator, faces: int = FACES) -> np.ndarray:
    """Errors (M, S, N) of methods that are equally good, less the part that all share."""
    whole = (methods, seeds, 1)
    a = (rng.gamma(2.0, size=whole) - 2.0) / np.sqrt(2.0) if regime.skewed else rng.normal(size=whole)
    e = rng.standard_t(5, (methods, seeds, faces)) / np.sqrt(5 / 3)
    taste = rng.normal(size=(methods, 1, faces))
    return regime.training * a + regime.face * e + regime.taste * taste


@dataclass(frozen=True)
class Rates:
    """Shares of repeats or comparisons, 0…1.

    Attributes:
        old, new: false alarms of the bootstrap alone, and of `paired_difference`.
        covered_old, covered_new: 95 % intervals that hold the true difference.
        families: number of methods -> share of comparisons of so many with an alarm after Holm, new.
        families_old: the same of the bootstrap alone.
    """

    old: float
    new: float
    covered_old: float
    covered_new: float
    families: dict[int, float]
    families_old: dict[int, float]


def _repeats(
    regime: Regime, seeds: int, methods: int, repeats: int, seed: int
) -> Iterator[tuple[list[float], list[float], list[bool], list[bool]]]:
    """For each repeat the p of every method, old and new, and whether 0, the truth, lies in its interval."""
    rng = np.random.default_rng(seed)
    for _ in range(repeats):
        drawn = trainings(regime, methods + 1, seeds, rng)
        pairs = [(bootstrap_test(own - drawn[0]), paired_difference(own, drawn[0])) for own in drawn[1:]]
        new = [(d.p, d.low, d.high) for _, d in pairs if d.p is not None and d.low is not None and d.high is not None]
        yield (
            [b.p for b, _ in pairs],
            [p for p, _, _ in new],
            [b.low <= 0 <= b.high for b, _ in pairs],
            [low <= 0 <= high for _, low, high in new],
        )


def false_alarms(regime: Regime, seeds: int, repeats: int, seed: int, families: Sequence[int] = (4, 12)) -> Rates:
    """Rates among equally good methods, the largest of `families` beside one baseline."""
    rows = list(_repeats(regime, seeds, max(families), repeats, seed))
    old, new, held_old, held_new = (np.array([row[i] for row in rows]) for i in range(4))

    def of_family(p: np.ndarray, size: int) -> float:
        return float(np.mean([min(holm(row[:size].tolist())) < LEVEL for row in p]))

    return Rates(
        old=float((old < LEVEL).mean()),
        new=float((new < LEVEL).mean()),
        covered_old=float(held_old.mean()),
        covered_new=float(held_new.mean()),
        families={size: of_family(new, size) for size in families},
        families_old={size: of_family(old, size) for size in families},
    )


def power(regime: Regime, seeds: int, effect: float, repeats: int, seed: int, family: int = 4) -> tuple[float, float]:
    """How often a true difference of `effect` has p < 0.05: alone, and after Holm among `family` methods.

    The other methods are as good as the baseline.
    """
    rng = np.random.default_rng(seed)
    alone = corrected = 0
    for _ in range(repeats):
        drawn = trainings(regime, family + 1, seeds, rng)
        drawn[1] += effect
        p = [1.0 if d.p is None else d.p for d in (paired_difference(own, drawn[0]) for own in drawn[1:])]
        alone += p[0] < LEVEL
        corrected += holm(p)[0] < LEVEL
    return alone / repeats, corrected / repeats


def main() -> None:
    """Print the table as Markdown; `a → b`: the bootstrap alone, and what `compare` does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000, help="made-up comparisons of each row (default 2000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5], help="trainings of each method (default 3 5)")
    parser.add_argument("--effects", type=float, nargs="+", default=[-0.36, -0.43], help="true differences to find")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    options = parser.parse_args()
    if options.repeats < 1 or min(options.seeds) < 2:
        parser.error("--repeats must be 1 or more, --seeds 2 or more")
    header = ["regime", "seeds", "false alarms", "after Holm, 4 methods", "12 methods", "95 % interval covers"]
    header += [f"power for {effect:g}: alone, of 4" for effect in options.effects]
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|", flush=True)
    for regime in REGIMES:
        for seeds in options.seeds:
            r = false_alarms(regime, seeds, options.repeats, options.seed)
            pairs = [(r.old, r.new), *((r.families_old[k], r.families[k]) for k in (4, 12))]
            pairs.append((r.covered_old, r.covered_new))
            cells = [f"{100 * old:.1f} → **{100 * new:.1f} %**" for old, new in pairs]
            for effect in options.effects:
                alone, of_four = power(regime, seeds, effect, options.repeats, options.seed)
                cells.append(f"{alone:.2f}, {of_four:.2f}")
            print(f"| {regime.name} | {seeds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
