"""`history.csv`, one row an epoch, and its curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file

matplotlib.use("Agg")
from matplotlib.figure import Figure

#: error column of a scheme -> its description
ERRORS = {"nme": "NME in %", "degrees": "geodesic error in degrees"}
#: the same for keypoint trainings, whose only error without a teacher is the objective
OTHERS = {"akd": "keypoint distance (AKD) on the −1…1 grid", "loss": "objective"}


def in_order(values: Mapping[str, float], order: Sequence[str]) -> dict[str, float]:
    """Order named values, with those of validation after them and any others last.

    >>> in_order({"b": 1.0, "nme": 4.0, "a": 2.0, "val_nme": 5.0}, ["a", "b", "nme"])
    {'a': 2.0, 'b': 1.0, 'nme': 4.0, 'val_nme': 5.0}
    """
    places = {name: place for place, name in enumerate([*order, *(f"val_{name}" for name in order)])}
    return dict(sorted(values.items(), key=lambda item: places.get(item[0], len(places))))


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write all rows, atomically; columns missing from a row, e.g. of a run begun by an older version, are nan."""
    columns = list(dict.fromkeys(key for row in [rows[-1], *rows] for key in row))
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="nan")
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: Path) -> list[dict[str, float]]:
    """Read the rows of a history; empty if there is no file. Raises `UserError` if it is malformed."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except (ValueError, TypeError, csv.Error):
        rows = [{}]
    if not all({"epoch", "seconds"} <= row.keys() and row.keys() & ERRORS.keys() for row in rows):
        raise UserError(f"{path} is not the history of a training")
    return rows


def history_plot(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Plot the curves of a training as a PNG: objective and terms, and the error in training and validation."""
    figure = Figure(figsize=(10, 3.2))
    epochs = [row["epoch"] for row in rows]
    loss, errors = figure.subplots(1, 2)
    metrics = ERRORS | OTHERS
    metric = next(name for name in metrics if name in rows[0])
    for key in rows[0]:
        if key in ("epoch", "seconds", "learning_rate") or (key == "val_loss" and metric != "loss"):
            continue
        axes = errors if key in (metric, f"val_{metric}") else loss
        values = [row[key] for row in rows]
        axes.plot(epochs, values, label={metric: "training", f"val_{metric}": "validation"}.get(key, key))
    for axes, title in ((loss, "terms" if metric == "loss" else "objective and terms"), (errors, metrics[metric])):
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    ends = [row.get(f"val_{metric}", row[metric]) for row in rows]
    errors.set_ylim(0, max(10.0 if metric in ERRORS else 0.0, 3 * float(np.min(ends))) or 1.0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()
