"""The report of head poses: tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd_loss.evaluation import report_content
from kd_loss.evaluation.plots import new_axes, to_png
from kd_loss.evaluation.pose_result import ANGLES, PoseResult
from kd_loss.evaluation.report_content import Picture, face_pictures, training_pictures
from kd_loss.imaging.rotations import CONVENTION, CONVENTION_300WLP, to_angles
from kd_loss.schemes.drawing import draw_head, enlarge, label, sheet
from kd_loss.schemes.pose import PoseScheme

SIDE = 220
COLOURS = "red: to the subject's left, green: up, blue: where it looks; thick: predicted, thin: true"
SHARES = ("over 10°, %", "AUC@10°")


def title_of(scheme: PoseScheme) -> str:
    """Describe the errors of a table."""
    return f"{scheme.metric_words}, {scheme.name}"


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
        usual = result.angles_300wlp.mean(axis=0)
        common.append([result.name, *(f"{value:.2f}" for value in usual), f"{usual.mean():.2f}"])
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
        {"title": f"The usual table ({CONVENTION_300WLP})", "header": ["network", *ANGLES, "mean"], "rows": common},
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
