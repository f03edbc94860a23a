"""How well a network tells visible from hidden landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_loss.evaluation.plots import new_axes, to_png

VISIBILITY_COLUMNS = ("network", "labels", "hidden %", "AUC", "AUC of the spread", "Brier", "calibration error")


@dataclass(frozen=True)
class VisibilityScore:
    """Figures of a network's visibility on a split.

    Attributes:
        labels: number of points with a label; hidden: share of them that are hidden, in %.
        auc: probability that a visible point has a larger value than a hidden one, 0…1; ½ by chance.
        spread_auc: the same for the spread of the network's heatmaps, a narrower one taken as visible; None without.
        brier: mean squared difference of value and label, 0…1; smaller is better.
        calibration: expected calibration error: mean difference of said and true shares over ten groups, 0…1.
    """

    labels: int
    hidden: float
    auc: float
    spread_auc: float | None
    brier: float
    calibration: float

    def row(self, name: str) -> list[str]:
        """The cells of a table, see `VISIBILITY_COLUMNS`."""
        other = "–" if self.spread_auc is None else f"{self.spread_auc:.3f}"
        return [
            name, str(self.labels), f"{self.hidden:.1f}", f"{self.auc:.3f}", other, f"{self.brier:.3f}",
            f"{self.calibration:.3f}",
        ]  # fmt: skip


def groups_of(said: np.ndarray, truth: np.ndarray, count: int = 10) -> list[tuple[float, float, int]]:
    """Points in groups of equal width by what is said: mean of what is said, true share, number; empty ones omitted."""
    bins = np.minimum((said * count).astype(int), count - 1)
    return [
        (float(said[bins == b].mean()), float(truth[bins == b].mean()), int((bins == b).sum()))
        for b in range(count)
        if (bins == b).any()
    ]


def score_visibility(said: np.ndarray, labels: np.ndarray, spread: np.ndarray | None = None) -> VisibilityScore | None:
    """Compare values (N, K) 0…1 with labels (N, K) of 1, 0 and NaN; None unless both kinds of points occur."""
    known = ~np.isnan(labels)
    truth = labels[known] > 0.5
    if not known.any() or truth.all() or not truth.any():
        return None
    from sklearn.metrics import roc_auc_score

    values = np.asarray(said, np.float64)[known]
    groups = groups_of(values, truth)
    widths = None if spread is None else np.asarray(spread, np.float64)[known]
    return VisibilityScore(
        labels=int(known.sum()),
        hidden=float(100 * (~truth).mean()),
        auc=float(roc_auc_score(truth, values)),
        spread_auc=None if widths is None else float(roc_auc_score(truth, -widths)),
        brier=float(np.square(values - truth).mean()),
        calibration=float(sum(abs(mean - share) * number for mean, share, number in groups) / known.sum()),
    )


def reliability_plot(said: np.ndarray, labels: np.ndarray) -> bytes:
    """Plot the true share of visible points over what the network says, in ten groups; areas: numbers of points."""
    known = ~np.isnan(labels)
    groups = np.array(groups_of(np.asarray(said, np.float64)[known], labels[known] > 0.5))
    figure, axes = new_axes(4.5, 4)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.plot(groups[:, 0], groups[:, 1], linewidth=1)
    axes.scatter(groups[:, 0], groups[:, 1], s=300 * groups[:, 2] / groups[:, 2].max() + 6)
    axes.set(
        xlabel="visibility said by the network", ylabel="share of points that are visible", xlim=(0, 1), ylim=(0, 1.02)
    )
    return to_png(figure)
