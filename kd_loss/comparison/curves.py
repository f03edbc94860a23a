"""Errors by epoch of all students of a comparison, as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kd_loss.evaluation.plots import new_axes, to_png
from kd_loss.runs.history import ERRORS

History = Sequence[Mapping[str, float]]


def curves_plot(histories: Mapping[str, Sequence[History]], teacher: History = ()) -> bytes | None:
    """Plot the error by epoch: mean over seeds, and between the least and the largest of the seeds a band.

    Args:
        histories: method -> the rows of `history.csv` of each seed; of stages, one after the other.
        teacher: the rows of a teacher's, for a line at the best epoch; none by default.

    Returns:
        A PNG; None without any history.
    """
    if not histories:
        return None
    metric = next(name for name in ERRORS if name in next(iter(histories.values()))[0][0])
    figure, axes = new_axes(8, 4.5)
    ends = []
    for number, (method, runs) in enumerate(histories.items()):
        for key, style, words in ((f"val_{metric}", "-", "held-out faces"), (metric, ":", "training faces, augmented")):
            errors = errors_by_epoch(runs, key)
            if not len(errors):
                continue
            epochs = np.arange(1, errors.shape[1] + 1)
            axes.plot(epochs, errors.mean(axis=0), style, color=f"C{number}", label=f"{method}, {words}")
            if style == "-":
                axes.fill_between(epochs, errors.min(axis=0), errors.max(axis=0), color=f"C{number}", alpha=0.2)
            ends.append(float(errors[:, -1].min()))
    reached = [row[f"val_{metric}"] for row in teacher if f"val_{metric}" in row]
    if reached:
        axes.axhline(min(reached), color="black", linewidth=0.8, linestyle="--", label="teacher, held-out faces")
        ends.append(min(reached))
    axes.set(xlabel="epoch", ylabel=ERRORS[metric])
    if known := [end for end in ends if np.isfinite(end)]:  # a training that diverged ends in nan
        axes.set_ylim(0.8 * min(known), 2.0 * max(known))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="small")
    return to_png(figure)


def errors_by_epoch(runs: Sequence[History], key: str) -> np.ndarray:
    """Return the column `key` of every run, (S, E), cut to the shortest; (0, 0) if a run has none.

    >>> errors_by_epoch([[{"nme": 5.0}, {"nme": 4.0}], [{"nme": 6.0}]], "nme").tolist()
    [[5.0], [6.0]]
    """
    if not all(key in row for rows in runs for row in rows):
        return np.zeros((0, 0))
    epochs = min(map(len, runs))
    return np.array([[row[key] for row in rows[:epochs]] for rows in runs])
