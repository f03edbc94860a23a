"""What the report of any test contains: lines about the networks, pictures of one network, and the metrics.

`landmark_content` and `pose_content` add the tables and the drawings of their kind of target; `registry` maps a scheme
to its content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kd_loss.evaluation.metrics import worst
from kd_loss.evaluation.official import complete_rows, official_rows
from kd_loss.evaluation.plots import ced_plot
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.result import Result
from kd_loss.runs.history import history_plot
from kd_loss.schemes.drawing import encode_png
from kd_loss.system.terminal import counted

#: faces of the sample that a report shows
SAMPLE = 10


@dataclass(frozen=True)
class Picture:
    """A picture of the report: file name, title, caption, and the PNG."""

    name: str
    title: str
    text: str
    png: bytes


def face_pictures(
    result: Any, draw: Callable[[Any, Sequence[int]], np.ndarray], colours: str, worst_count: int
) -> list[Picture]:
    """Draw a sample of faces spread evenly over the split, and those with the largest errors.

    Args:
        result: the result of one network, with `split`, `name` and `values` (N,), the error of each face.
        draw: draws the faces of given indices with what was predicted, (H, W, 3) uint8.
        colours: caption that explains the drawing.
        worst_count: number of worst faces.
    """
    count = len(result.split)
    sample = np.linspace(0, count - 1, min(SAMPLE, count)).astype(int).tolist()
    bad = worst(result.values, min(worst_count, count))
    text = f"spread evenly over the split; {colours}"
    return [
        Picture("sample", f"Ten faces: {result.name}", text, encode_png(draw(result, sample))),
        Picture("worst", f"The worst faces: {result.name}", colours, encode_png(draw(result, bad))),
    ]


def training_pictures(history: list[dict[str, float]]) -> list[Picture]:
    """Plot the history of a training; none if it is unknown."""
    return [Picture("curves", "The training", "per epoch", history_plot(history))] if history else []


def error_curves(results: Sequence[Result | PoseResult], mean: str, **axis: Any) -> Picture:
    """Plot the cumulative error distributions of all networks.

    Args:
        results: one per network.
        mean: what the number in brackets is, e.g. `mean NME`.
        axis: upper limit and label of the error, and published failures, as for `plots.ced_plot`.
    """
    plot = ced_plot({result.name: result.values for result in results}, **axis)
    text = f"share of faces up to an error; {mean} in brackets"
    return Picture("ced", "Cumulative error distribution", text, plot)


def lines_of(results: Sequence[Result | PoseResult]) -> list[str]:
    """Return the introductory lines of the report."""
    split = results[0].split
    lines = [f"{counted(len(split), 'face')}, errors measured in the source images, intervals by bootstrap over faces."]
    for result in results:
        network = result.network
        size = f"{network['parameters']:,} parameters" if network["parameters"] else network["runtime"]
        lines.append(f"{result.name}: {network['arch']}, {network['size']} px, {size}, {result.weights}")
        if "found" in network:
            lines.append(
                f"{result.name}: crops by the finder, which searched {network['looked_at']}. Faces not found "
                f"are excluded from all its figures; the others have an NME of {network['found_nme_annotated']:.2f} "
                "% by crops about the annotated points."
            )
        notes = [f"warning: {note}" for note in network.get("notes", [])]
        lines += [note for note in notes if note not in lines]  # a network may be tested in several ways
    complete = complete_rows(split)
    if complete:
        lines.append(
            f"Official and complete: {', '.join(complete)}. Published figures have their own crops and training faces."
        )
    elif split.scheme.official:
        lines.append("No official subset is complete: published figures are not comparable and are omitted.")
    return lines


def metrics_of(results: Sequence[Result | PoseResult]) -> dict[str, Any]:
    """The contents of `metrics.json`."""
    split = results[0].split
    summaries = [result.summary() for result in results]
    official = {row: asdict(found) for row, found in official_rows(split).items()}
    return {"dataset": split.scheme.name, "faces": len(split), "official": official, "networks": summaries}
