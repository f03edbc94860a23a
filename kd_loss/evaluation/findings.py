"""The results of a test: tables, pictures and lines of the report, and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kd_loss.evaluation.metrics import bootstrap_interval, part_errors, worst
from kd_loss.evaluation.official import complete_rows, official_rows
from kd_loss.evaluation.pictures import result_sheet, soft_sheet
from kd_loss.evaluation.plots import ced_plot, confidence_plot, point_plot, size_plot
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.published import published_points
from kd_loss.evaluation.report import describe, published_tables, subset_table
from kd_loss.evaluation.result import Result
from kd_loss.runs.history import history_plot
from kd_loss.schemes.drawing import encode_png
from kd_loss.schemes.spec import DatasetSpec
from kd_loss.system.terminal import counted

COLOURS = "green: annotated, red: predicted"
SHARES = ("FR@0.10", "AUC@0.10")
TO_TEACHER = "Mean distance to the teacher's landmarks (AKD), in units of the −1…1 grid"


@dataclass(frozen=True)
class Picture:
    """A picture of the report: file name, title, caption, and the PNG."""

    name: str
    title: str
    text: str
    png: bytes


def title_of(spec: DatasetSpec, normaliser: str = "") -> str:
    """Describe the errors of a table, by the default normaliser or another."""
    return f"NME in %, {spec.name}, normalised by {describe(normaliser or spec.default_normaliser)}"


def tables_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Build the tables: NME per subset for every normaliser, the default one first, then its components.

    They include published figures for official faces; errors per facial part and of the openings of eyes and mouth;
    and the distance to a teacher.
    """
    spec, tables = results[0].spec, []
    for normaliser in results[0].normalisers:
        if normaliser != spec.default_normaliser and np.isnan(results[0].errors(normaliser)).all():
            continue  # needs points that no face has
        header, rows = subset_table(list(results), normaliser)
        tables.append({"title": title_of(spec, normaliser), "header": header, "rows": rows})
    tables[1:1] = published_tables(results[0].split, {result.name: [result] for result in results})
    if spec.parts:
        parts = [part_errors(result.errors(spec.default_normaliser), spec) for result in results]
        rows = [[r.name, *(f"{p[part]:.2f}" for part in spec.parts)] for r, p in zip(results, parts, strict=True)]
        header = ["network", *spec.parts]
        tables.append({"title": "Error per facial part, in %", "header": header, "rows": rows})
    opened = [(result.name, region, o) for result in results for region, o in result.openings.items()]
    if opened:
        by = describe(spec.default_normaliser)
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
    told = [(result.name, result.akd) for result in results if result.akd is not None]
    if told:
        ends = [bootstrap_interval(akd) for _, akd in told]
        rows = [
            [name, f"{akd.mean():.4f}", f"{low:.4f}…{high:.4f}"]
            for (name, akd), (low, high) in zip(told, ends, strict=True)
        ]
        tables.append({"title": TO_TEACHER, "header": ["network", "AKD", "95 %"], "rows": rows})
    return tables


def pictures_of(first: Result, worst_count: int, history: list[dict[str, float]]) -> list[Picture]:
    """Draw the pictures of a network: error per landmark, faces with its landmarks, and its training if known."""
    split, spec, name = first.split, first.spec, first.name
    bad = worst(first.nme, min(worst_count, len(split)))
    typical = np.linspace(0, len(split) - 1, min(10, len(split))).astype(int).tolist()
    errors = first.errors(spec.default_normaliser)
    pictures = [
        Picture("points", f"Error per landmark: {name}", "mean over the faces", point_plot(errors, spec)),
        Picture(
            "sample",
            f"Ten faces: {name}",
            f"spread evenly over the split; {COLOURS}",
            encode_png(result_sheet(first, typical)),
        ),
        Picture("worst", f"The worst faces: {name}", COLOURS, encode_png(result_sheet(first, bad))),
        Picture(
            "soft",
            "Hard and soft landmarks",
            "green: annotated, blue: what the shape model keeps of them",
            encode_png(soft_sheet(split)),
        ),
    ]
    if first.spread is not None:
        plot = confidence_plot(errors, first.spread)
        title = f"What the spread says: {name}"
        text = "of heatmaps or, mirrored, of two answers; landmarks in ten groups, from the surest on"
        pictures.append(Picture("confidence", title, text, plot))
    if history:
        pictures.append(Picture("curves", "The training", "per epoch", history_plot(history)))
    return pictures


def error_curves(results: Sequence[Result]) -> Picture:
    """Plot the cumulative error distributions of all networks."""
    text = "share of faces up to an error; mean NME in brackets"
    return Picture("ced", "Cumulative error distribution", text, ced_plot({r.name: r.nme for r in results}))


def beside_published(results: Sequence[Result | PoseResult]) -> list[Picture]:
    """Plot error against parameters among published networks, on the first complete official row; [] without one."""
    own = [result for result in results if isinstance(result, Result) and result.network.get("parameters")]
    rows = complete_rows(own[0].split) if own else []
    others = published_points(own[0].spec.name, rows[0]) if rows else []
    if not others:
        return []
    points = [(r.name, r.network["parameters"] / 1e6, r.scores("inter_ocular")[rows[0]].mean) for r in own]
    plot = size_plot(points, others, f"NME in % on {rows[0]} (outer eye corners)")
    return [Picture("published", f"{rows[0]}: error and size among published networks", "red: measured here", plot)]


def lines_of(results: Sequence[Result | PoseResult]) -> list[str]:
    """Return the introductory lines of the report."""
    split = results[0].split
    lines = [
        f"{counted(len(split), 'face')}, errors measured in the source pictures, intervals by bootstrap over faces."
    ]
    for result in results:
        network = result.network
        size = f"{network['parameters']:,} parameters" if network["parameters"] else network["runtime"]
        lines.append(f"{result.name}: {network['arch']}, {network['size']} px, {size}, {result.weights}")
        if "found" in network:
            lines.append(
                f"{result.name}: crops by the finder, which looked at {network['looked_at']}. Faces not found "
                f"are left out of all its figures; the others have an NME of {network['found_nme_annotated']:.2f} % by "
                "crops about the annotated points."
            )
        notes = [f"warning: {note}" for note in network.get("notes", [])]
        lines += [note for note in notes if note not in lines]  # a network may be tested in several ways
    complete = complete_rows(split)
    if complete:
        lines.append(
            f"Official and complete: {', '.join(complete)}. Published figures have their own crops and training faces."
        )
    elif split.spec.official:
        lines.append("No official subset is complete: published figures are not comparable and left out.")
    return lines


def metrics_of(results: Sequence[Result | PoseResult]) -> dict[str, Any]:
    """The contents of `metrics.json`."""
    split = results[0].split
    summaries = [result.summary() for result in results]
    official = {row: asdict(found) for row, found in official_rows(split).items()}
    return {"dataset": split.spec.name, "faces": len(split), "official": official, "networks": summaries}
