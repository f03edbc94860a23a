"""The figures of verification and identification, from cosines; pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: false acceptance rates that are reported
RATES = (1e-1, 1e-2, 1e-3, 1e-4)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1.

    >>> unit(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@dataclass(frozen=True)
class Folds:
    """Accuracy (F,) of each fold with the threshold (F,) chosen on the others."""

    accuracy: np.ndarray
    threshold: np.ndarray

    def to_dict(self) -> dict[str, float]:
        """Mean and standard deviation (of a sample) of both."""
        return {
            "accuracy": float(self.accuracy.mean()),
            "accuracy_deviation": float(self.accuracy.std(ddof=1)),
            "threshold": float(self.threshold.mean()),
            "threshold_deviation": float(self.threshold.std(ddof=1)),
        }


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold at which most of the pairs, `scores` (N,) and `same` (N,) bool, are right: same if score ≥ it.

    It lies midway between two scores; of several equally good ones, the middle one.

    >>> best_threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True]))
    0.4
    """
    order = np.argsort(scores, kind="stable")
    ordered, hits = scores[order], same[order].astype(int)
    # right pairs if the first k are called different
    right = np.concatenate([[0], np.cumsum(1 - hits)]) + hits.sum() - np.concatenate([[0], np.cumsum(hits)])
    edges = np.concatenate([[ordered[0] - 1e-3], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1e-3]])
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    best = np.flatnonzero(possible & (right == right[possible].max()))
    return float(edges[best[len(best) // 2]])


def over_folds(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> Folds:
    """Accuracy over folds (N,), each with the threshold that is best on the other folds."""
    accuracy, thresholds = [], []
    for number in np.unique(fold):
        own = fold == number
        threshold = best_threshold(scores[~own], same[~own])
        accuracy.append(float(((scores[own] >= threshold) == same[own]).mean()))
        thresholds.append(threshold)
    return Folds(np.array(accuracy), np.array(thresholds))


def roc(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true acceptance rates for falling thresholds, from (0, 0) to (1, 1), and the thresholds."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], same[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    far, tar = (np.concatenate([[0.0], counts / max(int(counts[-1]), 1)]) for counts in (false, true))
    return far, tar, np.concatenate([[np.inf], ordered[last]])


def area(far: np.ndarray, tar: np.ndarray) -> float:
    """AUC: the area below the curve of `roc`."""
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2))


def equal_error(far: np.ndarray, tar: np.ndarray) -> float:
    """EER: the rate at which false acceptances and false rejections are equally frequent, interpolated."""
    gap = far - (1 - tar)
    at = int(np.argmax(gap >= 0))
    if gap[at] == 0 or at == 0:
        return float(far[at])
    share = -gap[at - 1] / (gap[at] - gap[at - 1])
    return float(far[at - 1] + share * (far[at] - far[at - 1]))


def true_at_false(scores: np.ndarray, same: np.ndarray, rate: float) -> float | None:
    """TAR@FAR: the share of the same pairs above a threshold that at most `rate` of the different ones reach.

    None, "not measurable", below one in the number of different pairs.

    >>> true_at_false(np.array([0.9, 0.3, 0.7, 0.4]), np.array([True, True, False, False]), 0.5)
    0.5
    """
    negatives = np.sort(scores[~same])[::-1]
    allowed = int(np.floor(rate * len(negatives) + 1e-9))
    if not allowed:
        return None
    limit = negatives[allowed] if allowed < len(negatives) else -np.inf
    return float((scores[same] > limit).mean())


def verification(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> dict[str, Any]:
    """All figures of one protocol, as plain values; a rate of TAR that is not measurable is None."""
    far, tar, _ = roc(scores, same)
    return {
        "pairs": len(scores),
        "folds": len(np.unique(fold)),
        **over_folds(scores, same, fold).to_dict(),
        "auc": area(far, tar),
        "eer": equal_error(far, tar),
        "tar_at_far": {f"{rate:g}": true_at_false(scores, same, rate) for rate in RATES},
        "negatives": int((~same).sum()),
    }


def identification(
    gallery: np.ndarray,
    gallery_person: Sequence[Any],
    probes: np.ndarray,
    probe_person: Sequence[Any],
    rates: Sequence[float] = (0.1, 0.01),
) -> dict[str, Any]:
    """Rank 1, and TPIR at FPIR: how many probes are found in a gallery, and how many strangers are taken for members.

    Args:
        gallery: (G, D) an embedding of length 1 for each member.
        gallery_person: (G,) who they are.
        probes: (P, D) of members and of non-mates, persons that are not in the gallery.
        probe_person: (P,) who they are.
        rates: FPIR.

    Returns:
        `rank1` of mated probes, and `tpir` by FPIR: the share of mated probes whose best member is right and scores
        above the threshold that so many of the non-mates reach; None if they are too few for that.
    """  # fmt: skip
    names, who = np.asarray(gallery_person), np.asarray(probe_person)
    cosines = probes @ gallery.T
    best = cosines.argmax(axis=1)
    top = cosines[np.arange(len(probes)), best]
    mated = np.isin(who, names)
    right = names[best] == who
    found: dict[str, float | None] = {}
    strangers = np.sort(top[~mated])[::-1]
    for rate in rates:
        allowed = int(np.floor(rate * len(strangers) + 1e-9))
        limit = strangers[allowed] if 0 < allowed < len(strangers) else None
        found[f"{rate:g}"] = None if limit is None else float((right & (top > limit))[mated].mean())
    return {
        "gallery": len(gallery),
        "mated": int(mated.sum()),
        "non_mates": int((~mated).sum()),
        "rank1": float(right[mated].mean()) if mated.any() else None,
        "tpir_at_fpir": found,
    }
