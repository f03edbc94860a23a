"""The report of head poses: tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd_loss.evaluation import report_content
from kd_loss.evaluation.plots import new_axes, to_png
from kd_loss.evaluation.pose_result import ANGLES, LIMIT, PoseResult
from kd_loss.evaluation.report_content import Picture, face_pictures, training_pictures
from kd_loss.imaging.rotations import CONVENTION, CONVENTION_300WLP, to_angles
from kd_loss.schemes.drawing import draw_head, enlarge, label, sheet
from kd_loss.schemes.pose import PoseScheme

SIDE = 220
COLOURS = "magenta: to the subject's left, green: up, blue: where it looks; thick: predicted, thin: true"
SHARES = ("over 10°, %", "AUC@10°")


def title_of(scheme: PoseScheme) -> str:
    """Describe the errors of a table."""
    return f"{scheme.metric_words}, {scheme.name}"


def beside_theirs(name: str) -> str:
    """What separates these figures from those of published tables."""
    ray = "poses are measured against the ray through the head there, not the camera's axis; " if "biwi" in name else ""
    return f"{ray}6DRepNet's own figures take an error of 180° for 0, which these do not"


def tables_of(results: Sequence[PoseResult]) -> list[dict[str, Any]]:
    """Build the tables: all errors over all faces, angles per range of yaw, then yaw, pitch, roll in the usual form."""
    names = list(results[0].rows())
    header = ["network", *(f"geodesic, {name}" for name in names), "95 % interval (full)", *ANGLES]
    header += ["position", "across", "over 10°, %", "AUC@10°"]
    rows, ranges, common = [], [], []
    for result in results:
        scores = result.scores()
        full, place = scores["full"], result.position.mean(axis=0)
        cells = [f"{scores[name].mean:.2f}" for name in names] + [f"{full.low:.2f}…{full.high:.2f}"]
        cells += [f"{value:.2f}" for value in (*result.angles.mean(axis=0), *place)]
        rows.append([result.name, *cells, f"{full.fr_10:.1f}", f"{full.auc_10:.3f}"])
        for name, indices in result.rows().items():
            angles = [f"{value:.2f}" for value in result.angles[indices].mean(axis=0)]
            where = [f"{value:.2f}" for value in result.position[indices].mean(axis=0)]
            ranges.append([result.name, name, str(len(indices)), f"{scores[name].mean:.2f}", *angles, *where])
        for words, chosen in (("all", slice(None)), (f"all three angles within ±{LIMIT:.0f}°", result.within_limit)):
            errors = result.angles_300wlp[chosen]
            means = errors.mean(axis=0) if len(errors) else np.full(3, np.nan)
            cells = [f"{value:.2f}" for value in (*means, means.mean())]
            common.append([result.name, words, str(len(errors)), *cells])
    name = results[0].split.scheme.name
    return [
        {
            "title": f"Head poses, {name}: degrees, positions in head widths ({CONVENTION})",
            "header": header,
            "rows": rows,
        },
        {
            "title": "Mean absolute errors per range of yaw",
            "header": ["network", "range", "faces", "geodesic", *ANGLES, "position", "across"],
            "rows": ranges,
        },
        {
            "title": f"In the convention of the usual tables ({CONVENTION_300WLP}); {beside_theirs(name)}",
            "header": ["network", "faces", "number", *ANGLES, "mean"],
            "rows": common,
        },
    ]


def pose_sheet(result: PoseResult, indices: Sequence[int], columns: int = 5) -> np.ndarray:
    """Draw true (thin) and predicted (thick) axes of the given faces, with the angle between them."""
    pictures = []
    for index in indices:
        picture, _ = enlarge(result.split.crop(index), np.zeros((1, 2)), SIDE)
        for raw, thin in ((result.truth[index], True), (result.predicted[index], False)):
            picture = draw_head(picture, raw, width=1 if thin else 3)
        name = str(result.split.name[index]).rsplit("/", 1)[-1]
        pictures.append(label(picture, f"{result.values[index]:.1f} deg  {name[-19:]}"))
    return sheet(pictures, columns)


def yaw_plot(result: PoseResult) -> bytes:
    """Plot each face's geodesic error over its true yaw."""
    figure, axes = new_axes(9, 3)
    yaw = to_angles(result.rotations[1])[:, 0]
    axes.scatter(yaw, result.values, s=6, alpha=0.5)
    axes.set(xlabel="true yaw in degrees", ylabel="geodesic error in degrees")
    return to_png(figure)


def pictures_of(first: PoseResult, worst_count: int, history: list[dict[str, float]]) -> list[Picture]:
    """Draw the pictures of a network: error over yaw, faces with axes, and its training if known."""
    return [
        Picture("points", f"Error over yaw: {first.name}", "one point per face", yaw_plot(first)),
        *face_pictures(first, pose_sheet, COLOURS, worst_count),
        *training_pictures(history),
    ]


def error_curves(results: Sequence[PoseResult]) -> Picture:
    """Plot the cumulative distributions of the geodesic errors."""
    return report_content.error_curves(results, "mean", limit=30.0, words="geodesic error in degrees")
