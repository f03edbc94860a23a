"""The report of landmarks: tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd_loss.evaluation import report_content
from kd_loss.evaluation.figures import result_sheet, soft_sheet
from kd_loss.evaluation.metrics import bootstrap_interval, part_errors
from kd_loss.evaluation.official import complete_rows
from kd_loss.evaluation.plots import confidence_plot, point_plot, size_plot
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.published import published_failures, published_points
from kd_loss.evaluation.report import describe, published_tables, subset_table
from kd_loss.evaluation.report_content import Picture, face_pictures, training_pictures
from kd_loss.evaluation.result import Result
from kd_loss.evaluation.visibility import VISIBILITY_COLUMNS, reliability_plot
from kd_loss.schemes.drawing import encode_png
from kd_loss.schemes.landmarks import LandmarkScheme

COLOURS = "green: annotated, red: predicted"
SHARES = ("FR@0.10", "AUC@0.10")
TO_TEACHER = "Mean distance to the teacher's landmarks (AKD), in units of the −1…1 grid"


def title_of(scheme: LandmarkScheme, normaliser: str = "") -> str:
    """Describe the errors of a table, by the default normaliser or another."""
    return f"NME in %, {scheme.name}, normalised by {describe(normaliser or scheme.default_normaliser)}"


def tables_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Build the tables: NME per subset for every normaliser, the default one first, then its components.

    They include published figures for official faces; errors per facial part and of the openings of eyes and mouth;
    and the distance to a teacher.
    """
    scheme, tables = results[0].scheme, []
    for normaliser in results[0].normalisers:
        if normaliser != scheme.default_normaliser and np.isnan(results[0].errors(normaliser)).all():
            continue  # needs points that no face has
        header, rows = subset_table(list(results), normaliser)
        tables.append({"title": title_of(scheme, normaliser), "header": header, "rows": rows})
    tables[1:1] = published_tables(results[0].split, {result.name: [result] for result in results})
    if scheme.parts:
        parts = [part_errors(result.errors(scheme.default_normaliser), scheme) for result in results]
        rows = [[r.name, *(f"{p[part]:.2f}" for part in scheme.parts)] for r, p in zip(results, parts, strict=True)]
        header = ["network", *scheme.parts]
        tables.append({"title": "Error per facial part, in %", "header": header, "rows": rows})
    opened = [(result.name, region, o) for result in results for region, o in result.openings.items()]
    if opened:
        by = describe(scheme.default_normaliser)
        rows = [
            [
                name,
                region,
                str(o.count),
                *(f"{v:.2f}" for v in (o.true, o.error)),
                f"{o.bias:+.2f}",
                f"{o.correlation:.2f}",
            ]
            for name, region, o in opened
        ]
        header = ["network", "region", "count", "opening", "mean error", "bias", "rank correlation"]
        tables.append({"title": f"How far open eyes and mouth are, in % of {by}", "header": header, "rows": rows})
    sights = [(result.name, result.seen) for result in results if result.seen is not None]
    if sights:
        title = "Visible points: how well the network separates them from hidden ones"
        tables.append({"title": title, "header": list(VISIBILITY_COLUMNS), "rows": [s.row(name) for name, s in sights]})
    measured = [(result.name, result.akd) for result in results if result.akd is not None]
    if measured:
        ends = [bootstrap_interval(akd) for _, akd in measured]
        rows = [
            [name, f"{akd.mean():.4f}", f"{low:.4f}…{high:.4f}"]
            for (name, akd), (low, high) in zip(measured, ends, strict=True)
        ]
        tables.append({"title": TO_TEACHER, "header": ["network", "AKD", "95 %"], "rows": rows})
    return tables


def pictures_of(first: Result, worst_count: int, history: list[dict[str, float]]) -> list[Picture]:
    """Draw the pictures of a network: error per landmark, faces with its landmarks, and its training if known."""
    scheme, name = first.scheme, first.name
    errors = first.errors(scheme.default_normaliser)
    pictures = [
        Picture("points", f"Error per landmark: {name}", "mean over the faces", point_plot(errors, scheme)),
        *face_pictures(first, result_sheet, COLOURS, worst_count),
        Picture(
            "soft",
            "Hard and soft landmarks",
            "green: annotated, blue: what the shape model keeps of them",
            encode_png(soft_sheet(first.split)),
        ),
    ]
    if first.spread is not None:
        plot = confidence_plot(errors, first.spread)
        title = f"What the spread indicates: {name}"
        text = "of heatmaps or, mirrored, of two predictions; landmarks in ten groups, the surest first"
        pictures.append(Picture("confidence", title, text, plot))
    if first.seen is not None and first.visibility is not None:
        plot = reliability_plot(first.visibility, np.asarray(first.split.visibility))
        text = "landmarks in ten groups by predicted visibility; on the line, it equals the true share"
        pictures.append(Picture("visibility", f"Visible points: {name}", text, plot))
    return pictures + training_pictures(history)


def error_curves(results: Sequence[Result]) -> Picture:
    """Plot the cumulative distributions of the NME, with published failures if all faces are one official subset."""
    split, scheme = results[0].split, results[0].scheme
    whole = [row for row in complete_rows(split) if len(split.rows()[row]) == len(split)]
    failures = published_failures(scheme.name, whole[0], scheme.default_normaliser) if whole else {}
    return report_content.error_curves(results, "mean NME", published=failures)


def published_picture(results: Sequence[Result | PoseResult]) -> list[Picture]:
    """Plot error against parameters among published networks, on the first complete official row; [] without one."""
    own = [result for result in results if isinstance(result, Result) and result.network.get("parameters")]
    rows = complete_rows(own[0].split) if own else []
    others = published_points(own[0].scheme.name, rows[0]) if rows else []
    if not others:
        return []
    points = [(r.name, r.network["parameters"] / 1e6, r.scores("inter_ocular")[rows[0]].mean) for r in own]
    plot = size_plot(points, others, f"NME in % on {rows[0]} (outer eye corners)")
    return [Picture("published", f"{rows[0]}: error and size among published networks", "red: measured here", plot)]
