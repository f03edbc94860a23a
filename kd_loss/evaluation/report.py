"""The tables of a test, in the terminal and as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from rich.console import Console
from rich.table import Table

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.evaluation.official import complete_rows, labels_of
from kd_loss.evaluation.published import beside_published

if TYPE_CHECKING:
    from kd_loss.evaluation.result import Result  # which imports Keras

NORMALISER_NAMES = {
    **{"inter_ocular": "outer eye corners", "inter_pupil": "pupils"},
    **{"box": "landmark box, √(width · height)", "box_side": "longer side of the landmark box"},
}


PUBLISHED_TITLE = "Official faces, beside published figures"


def describe(normaliser: str) -> str:
    """Return a normaliser in words."""
    return NORMALISER_NAMES.get(normaliser, normaliser)


def subset_table(results: Sequence[Result], normaliser: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: each network's NME per row of the report, then FR and AUC over all faces."""
    scores = [result.scores(normaliser) for result in results]
    names = list(scores[0])
    labels = labels_of(results[0].split)
    header = ["network", *(labels[name] for name in names), "95 % interval (full)", "FR@0.08", "FR@0.10", "AUC@0.10"]
    rows = []
    for result, score in zip(results, scores, strict=True):
        full = score["full"]
        rows.append(
            [
                result.name,
                *(f"{score[name].mean:.2f}" for name in names),
                f"{full.low:.2f}…{full.high:.2f}",
                f"{full.fr_08:.2f}",
                f"{full.fr_10:.2f}",
                f"{full.auc_10:.3f}",
            ]
        )
    return header, rows


def published_tables(split: PreparedSplit, own: Mapping[str, Sequence[Result]]) -> list[dict[str, Any]]:
    """Build tables of own and published NME on the rows whose official faces are complete, one per normaliser.

    `own`: name -> the results of one network, or of several trainings, which are averaged.
    """
    rows, tables = complete_rows(split), []
    first = next(iter(own.values()))[0]
    for normaliser in first.normalisers if rows else ():
        figures = []
        for name, runs in own.items():
            scores = [run.scores(normaliser) for run in runs]
            means = {
                row: float(np.mean([s[row].mean for s in scores])) for row in rows if all(row in s for s in scores)
            }
            figures.append((name, runs[0].network.get("parameters"), means))
        table = beside_published(split.scheme.name, normaliser, rows, figures)
        if table:
            tables.append({"title": f"{PUBLISHED_TITLE}, NME in % of {describe(normaliser)}", **table})
    return tables


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], turned: bool = True, width: int = 100
) -> None:
    """Print a table, by default transposed: one column per network fits where one per subset does not.

    `width` is its minimum in characters, on a narrower terminal too; a wider table is transposed.
    """
    lines = [list(cells) for cells in [header, *rows]]
    widths = [max(len(cell) for cell in column) + 3 for column in zip(*lines, strict=True)]
    console = Console(width=max(Console().width, width))
    if turned or sum(widths) + 1 > console.width:
        turned = True
        lines = [list(cells) for cells in zip(*lines, strict=True)]
        lines[0][0] = ""
    table, longest = Table(), max(len(cells[0]) for cells in lines)
    for i, cell in enumerate(lines[0]):
        table.add_column(
            cell, justify="right" if i else "left", overflow="fold", min_width=0 if turned or i else longest
        )
    for cells in lines[1:]:
        table.add_row(*cells)
    print(title)
    console.print(table)


def embed(png: bytes) -> str:
    """Return a PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def render_html(
    *,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Mapping[str, Any]],
    pictures: Sequence[Mapping[str, Any]],
    details: Mapping[str, Any],
) -> str:
    """Build the report as one page without external references.

    `tables` have `title`, `header`, `rows`; `pictures` have `title`, `text`, `png`; `details` are
    printed as they are.
    """
    template = resources.files("kd_loss.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    shown = [{**picture, "source": embed(picture["png"])} for picture in pictures]
    return environment.from_string(template).render(
        title=title, lines=lines, tables=tables, pictures=shown, details=details
    )
