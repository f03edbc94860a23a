"""How far KD-Loss differs from the plain loss about the truth, coordinate by coordinate.

KD-Loss uses its teachers' distances from the truth alone, so that its gradient in a coordinate has the direction of
the plain loss's and only another length. This tool measures how often a student is worse than each teacher, those
lengths, and the cosine between the two gradients with respect to all coordinates of the training faces: an optimiser
such as Adam, which divides by the size of the gradient, sees nothing but that angle.

    python -m tools.assistive_weights --dataset w300 --tough tough.h5 --tolerant tolerant.h5 student.h5 …
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import open_dataset
from kd_loss.distillation.kd_loss_formulae import ALPHAS, BETA, WEIGHTS
from kd_loss.evaluation.report import print_table
from kd_loss.evaluation.result import Result, test_network


def slope(d: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The derivative of the paper's assistive loss (either teacher) with respect to the student's error d.

    `t` is the teacher's error. 1 where the student is worse, 0.5 where it is better, and −1.25 + 2.5 d / t below
    0.4 t, where the reward falls to 0.

    >>> slope(np.array([2.0, 0.8, 0.5, 0.0]), np.array([1.0, 1.0, 2.0, 1.0])).tolist()
    [1.0, 0.5, -0.625, -1.25]
    """
    (alpha, alpha_minus), beta = ALPHAS["paper"]["tough"], BETA["paper"]
    low = alpha_minus * (t - 2 * d) / np.maximum(beta * t, 1e-12)
    return np.where(d > t, alpha, np.where(d >= beta * t, -alpha_minus, low))


def cosine(weights: np.ndarray) -> float:
    """The cosine between two gradients of equal signs, one of which has the length 1 in every coordinate.

    >>> cosine(np.array([3.0, 3.0])), round(cosine(np.array([1.0, 0.0])), 3)
    (1.0, 0.707)
    """
    return float(weights.sum() / np.sqrt((weights**2).sum() * weights.size))


def compare(truth: np.ndarray, student: np.ndarray, tough: np.ndarray, tolerant: np.ndarray) -> dict[str, float]:
    """Compare a student's predictions with its teachers'; all (N, K, 2) in any one unit.

    Returns:
        `tough`, `tolerant`, `both`: the share of coordinates in which the student is worse; `length` and `deviation`
        of the slope of KD-Loss, where that of the plain loss is 1; `cosine`.
    """
    d, hard, soft = (np.abs(predicted - truth) for predicted in (student, tough, tolerant))
    known = ~np.isnan(d)
    d, hard, soft = d[known], hard[known], soft[known]
    weights = WEIGHTS[0] + WEIGHTS[1] * slope(d, hard) + WEIGHTS[2] * slope(d, soft)
    worse = d > hard, d > soft
    return {
        **{"tough": float(worse[0].mean()), "tolerant": float(worse[1].mean())},
        **{"both": float((worse[0] & worse[1]).mean())},
        **{"length": float(weights.mean()), "deviation": float(weights.std()), "cosine": cosine(weights)},
    }


def main() -> None:
    """Predict the training faces by every network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", nargs="+", type=Path)
    parser.add_argument("--dataset", default="w300")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--tough", type=Path, required=True)
    parser.add_argument("--tolerant", type=Path, required=True)
    args = parser.parse_args()
    dataset = open_dataset(args.dataset, args.data)
    split = dataset.split("train")

    def predict(path: Path) -> Result:
        result = test_network(path, path.parent.name, dataset, split, 64)
        assert isinstance(result, Result)
        return result

    tough, tolerant = predict(args.tough), predict(args.tolerant)
    rows = []
    for path in args.students:
        student = predict(path)
        found = compare(student.truth, student.predicted, tough.predicted, tolerant.predicted)
        shares = [f"{100 * found[key]:.0f} %" for key in ("tough", "tolerant", "both")]
        length = f"{found['length']:.2f} ± {found['deviation']:.2f}"
        rows.append([student.name, f"{np.nanmean(student.nme):.2f}", *shares, length, f"{found['cosine']:.3f}"])
    title = f"Training faces; NME of the teachers {np.nanmean(tough.nme):.2f}, {np.nanmean(tolerant.nme):.2f} %"
    worse = [f"worse than {who}" for who in ("tough", "tolerant", "both")]
    print_table(title, ["student", "NME %", *worse, "slope", "cosine"], rows, turned=False)


if __name__ == "__main__":
    main()
