"""The command `test`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.configuration import check_values
from kd_loss.datasets.prepared import PreparedSplit, open_dataset
from kd_loss.errors import UserError
from kd_loss.evaluation.metrics import worst
from kd_loss.evaluation.options import EvaluationOptions
from kd_loss.evaluation.pictures import result_sheet, soft_sheet
from kd_loss.evaluation.plots import ced_plot, confidence_plot, point_plot
from kd_loss.evaluation.published import is_official
from kd_loss.evaluation.report import describe, print_table, render_html, subset_table
from kd_loss.evaluation.result import Result, test_network
from kd_loss.files import atomic_file, read_json, write_json
from kd_loss.ownership import check_free, claim
from kd_loss.schemes.drawing import encode_png
from kd_loss.training.history import history_plot, read_history
from kd_loss.training.run import finished_runs
from kd_loss.wording import counted

#: name in the table -> role and method on the cards of its runs
BESIDE = {
    "tough teacher": ("tough", None),
    "tolerant teacher": ("tolerant", None),
    "student alone": ("student", "none"),
    "student, KD-Loss": ("student", "kd_loss"),
}


#: what a test leaves in its folder
FILES = (
    *("metrics.json", "report.html", "predictions.npz"),
    *("ced.png", "points.png", "sample.png", "worst.png", "soft.png", "curves.png"),
)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training, not just one with a file called `config.json`."""
    try:
        return {"role", "decided_by"} <= read_json(folder / "config.json", "the configuration").keys()
    except UserError:
        return False


def _history(path: Path) -> list[dict[str, float]]:
    """The history of the training in a folder; none where the file of that name is something else's."""
    try:
        return read_history(path)
    except UserError as error:
        print(f"warning: left out: {error}")
        return []


def run_name(path: Path) -> str:
    """What a table calls a weights file: its run, or the file where it lies outside of one."""
    return path.parent.name if is_run(path.parent) else path.stem


def find_beside(runs: Path, dataset: str, chosen: list[Path]) -> dict[Path, str]:
    """The newest finished run of each kind, without those that are tested anyway."""
    given = {path.resolve() for path in chosen}
    found: dict[Path, str] = {}
    for name, (role, method) in BESIDE.items():
        finished = finished_runs(runs / dataset, role=role, method=method)
        if finished and not given & {p.resolve() for p in finished}:
            found[finished[-1]] = f"{name} ({finished[-1].parent.name})"
    return found


def output_folder(options: EvaluationOptions, weights: Path) -> Path:
    """Where results go: `--output`, the weights' run, or a folder of their own among the runs."""
    if options.output:
        return Path(options.output)
    if is_run(weights.parent):
        return weights.parent
    return options.runs / options.dataset / f"test-{weights.stem}"


def run_test(options: EvaluationOptions) -> dict[str, Any]:
    """Test, print the table, write `metrics.json`, `report.html` and the pictures; returns the metrics."""
    options = check_values(options)
    options.check()
    paths = [Path(text) for text in options.weights]
    dataset = open_dataset(options.dataset, options.data)
    split = dataset.split(options.split)
    folder = output_folder(options, paths[0])
    if not is_run(folder):
        check_free(folder, FILES)
    results = [test_network(path, run_name(path), dataset, split, options.batch_size) for path in paths]
    beside = find_beside(options.runs, dataset.folder.name, paths) if options.beside else {}
    for path, name in beside.items():
        try:
            results.append(test_network(path, name, dataset, split, options.batch_size))
        except UserError as error:
            print(f"warning: left out: {error}")
    if not is_run(folder):
        claim(folder, FILES)
    official = is_official(split.spec.name, dict(Counter(split.subset.tolist())), dict(split.spec.official))
    metrics = write_results(folder, results, split, official, options.worst)
    print(f"report: {folder / 'report.html'}")
    return metrics


def write_results(
    folder: Path,
    results: list[Result],
    split: PreparedSplit,
    official: bool,
    worst_count: int,
    *,
    notes: list[str] | None = None,
    curves: Path | None = None,
) -> dict[str, Any]:
    """Print the tables and write everything into a folder.

    `notes` open the report; `curves` is the history of the first network's training (that of the
    folder, if there is one, by default).
    """
    first, spec = results[0], split.spec
    tables: list[dict[str, Any]] = []
    for normaliser in [*spec.normalisers, "box"]:
        header, rows = subset_table(results, normaliser, official)
        title = f"NME in %, {spec.name}, normalised by {describe(normaliser)}"
        tables.append({"title": title, "header": header, "rows": rows})
    print_table(tables[0]["title"], tables[0]["header"], tables[0]["rows"])
    summaries = [result.summary() for result in results]
    parts = ["network", *spec.parts]
    cells = [[s["name"], *(f"{s['parts'][part]:.2f}" for part in spec.parts)] for s in summaries]
    if spec.parts:
        tables.append({"title": "Error per facial part, in %", "header": parts, "rows": cells})
    bad = worst(first.nme, min(worst_count, len(split)))
    typical = np.linspace(0, len(split) - 1, min(10, len(split))).astype(int).tolist()
    errors = first.errors(spec.default_normaliser)
    colours = "green: annotated, red: predicted"
    pictures = [
        (
            "ced",
            "Cumulative error distribution",
            "share of faces up to an error; mean NME in brackets",
            ced_plot({r.name: r.nme for r in results}),
        ),
        ("points", f"Error per landmark: {first.name}", "mean over the faces", point_plot(errors, spec)),
        (
            "sample",
            f"Ten faces: {first.name}",
            f"spread evenly over the split; {colours}",
            encode_png(result_sheet(first, typical)),
        ),
        ("worst", f"The worst faces: {first.name}", colours, encode_png(result_sheet(first, bad))),
        (
            "soft",
            "Hard and soft landmarks",
            "green: annotated, blue: what the shape model keeps of them",
            encode_png(soft_sheet(split)),
        ),
    ]
    if first.spread is not None:
        pictures.append(
            (
                "confidence",
                f"What a heatmap's spread says: {first.name}",
                "landmarks in ten groups, from the surest on",
                confidence_plot(errors, first.spread),
            )
        )
    history = _history(curves or folder / "history.csv")
    if history:
        pictures.append(("curves", "The training", "per epoch", history_plot(history)))
    lines = [
        *(notes or []),
        f"{counted(len(split), 'face')}, errors measured in the source pictures, intervals by bootstrap over faces.",
        *(
            f"{s['name']}: {s['arch']}, {s['size']} px, "
            + (f"{s['parameters']:,} parameters" if s["parameters"] else s["runtime"])
            + f", {s['weights']}"
            for s in summaries
        ),
    ]
    if not official and spec.official:
        lines.append("These are not the official test faces: published figures are not comparable and left out.")
    config = folder / "config.json"
    details = {"Options of the run": config.read_text(encoding="utf-8")} if is_run(folder) else {}
    page = render_html(
        title=f"{first.name} on {spec.name}",
        lines=lines,
        tables=tables,
        pictures=[{"title": t, "text": x, "png": png} for _, t, x, png in pictures],
        details=details,
    )
    metrics = {"dataset": spec.name, "faces": len(split), "official": official, "networks": summaries}
    for name, _, _, png in pictures:
        with atomic_file(folder / f"{name}.png") as path:
            path.write_bytes(png)
    with atomic_file(folder / "predictions.npz", ".npz") as path:
        np.savez(path, name=split.name, predicted=first.predicted, truth=first.truth, nme=first.nme)
    with atomic_file(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "metrics.json", metrics)
    return json.loads(json.dumps(metrics))
