"""The command `test`."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import open_dataset
from kd_loss.distillation.plugins import load_plugins
from kd_loss.evaluation.found import found_result
from kd_loss.evaluation.landmark_content import TO_TEACHER, published_picture
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.registry import content_of
from kd_loss.evaluation.report import PUBLISHED_TITLE, print_table, render_html
from kd_loss.evaluation.report_content import lines_of, metrics_of
from kd_loss.evaluation.result import Result, mean_teacher, test_network, with_teacher
from kd_loss.runs.folder import finished_runs
from kd_loss.runs.history import read_history
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import DatasetOptions, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, read_json, write_json
from kd_loss.system.overwrite_guard import Claims

log = logging.getLogger(__name__)
#: name in the table -> role and method on the cards of its runs
BESIDE = {
    "tough teacher": ("tough", None),
    "tolerant teacher": ("tolerant", None),
    "student alone": ("student", "none"),
    "student, KD-Loss": ("student", "kd_loss"),
}

#: files that a test writes to its folder
FILES = (
    *("metrics.json", "report.html", "predictions.npz"),
    *("ced.png", "published.png", "points.png", "sample.png", "worst.png", "soft.png", "confidence.png"),
    *("visibility.png", "curves.png"),
)


def is_run(folder: Path) -> bool:
    """Whether a folder belongs to a training and does not merely contain a file called `config.json`."""
    try:
        return {"role", "decided_by"} <= read_json(folder / "config.json", "the configuration").keys()
    except UserError:
        return False


def _history(path: Path) -> list[dict[str, float]]:
    """Read the history of the training in a folder; empty if the file of that name is something else."""
    try:
        return read_history(path)
    except UserError as error:
        log.warning(f"skipped: {error}")
        return []


def run_name(path: Path) -> str:
    """Return a weights file's name for tables: its run, or the file if it is not part of one."""
    return path.parent.name if is_run(path.parent) else path.stem


def find_beside(runs: Path, dataset: str, chosen: list[Path]) -> dict[Path, str]:
    """Find the newest finished run of each kind of which none is already tested."""
    given = {path.resolve() for path in chosen}
    found: dict[Path, str] = {}
    for name, (role, method) in BESIDE.items():
        finished = finished_runs(runs / dataset, role=role, method=method)
        if finished and not given & {p.resolve() for p in finished}:
            found[finished[-1]] = f"{name} ({finished[-1].parent.name})"
    return found


def output_folder(options: EvaluationOptions, weights: Path) -> Path:
    """Return the folder for results: `--output`, the weights' run, or a folder of their own among the runs."""
    if options.output:
        return Path(options.output)
    if is_run(weights.parent):
        return weights.parent
    return options.runs / options.dataset / f"test-{weights.stem}"


def run_test(options: EvaluationOptions) -> dict[str, Any]:
    """Test, print the table, write `metrics.json`, `report.html` and the images; returns the metrics."""
    options.check()
    load_plugins(options.plugin)
    paths = [weights_path(text) for text in options.weights]
    dataset = open_dataset(options.dataset, options.data)
    split = dataset.split(options.split)
    folder = output_folder(options, paths[0])
    claims = None if is_run(folder) else Claims(folder, FILES)
    teacher = None
    if options.reference:  # first, to report a wrong one before the others are tested
        teacher = test_network(weights_path(options.reference), "teacher", dataset, split, options.batch_size)
        teacher_landmarks = mean_teacher([teacher], options.reference)
    ways = (True, False) if options.flip_test else (False,)
    results = [
        test_network(path, run_name(path), dataset, split, options.batch_size, mirror)
        for path in paths
        for mirror in ways
    ]
    if options.finder:
        looked = zip(list(results), ways * len(paths), strict=True)
        results += [found_result(result, mirror, options.source) for result, mirror in looked]
    beside = find_beside(options.runs, dataset.folder.name, paths) if options.compare_with_runs else {}
    for path, name in beside.items():
        try:
            results.append(test_network(path, name, dataset, split, options.batch_size))
        except UserError as error:
            log.warning(f"skipped: {error}")
    if teacher:
        results = [*(with_teacher(result, teacher_landmarks) for result in results), teacher]
    metrics = write_results(folder, results, options.worst, claims=claims)
    print(f"report: {folder / 'report.html'}")
    return metrics


def write_results(
    folder: Path,
    results: Sequence[Result | PoseResult],
    worst_count: int = 20,
    *,
    notes: Sequence[str] = (),
    curves: Path | None = None,
    claims: Claims | None = None,
) -> dict[str, Any]:
    """Print the first table and write everything into a folder; return the contents of `metrics.json`.

    `notes` open the report; `curves` is the history of the first network's training (by default that of the folder,
    if there is one); `claims` records the files in a folder that is not a run.
    """
    first = results[0]
    content = content_of(first.split.scheme)
    tables = content.tables(results)
    for table in tables:
        if table is tables[0] or table["title"] == TO_TEACHER:
            print_table(table["title"], table["header"], table["rows"])
        elif table["title"].startswith(PUBLISHED_TITLE):  # without the sources, for which a terminal is too narrow
            print_table(table["title"], table["header"][:-1], [row[:-1] for row in table["rows"]], turned=False)
    history = _history(curves or folder / "history.csv")
    pictures = [
        content.error_curves(results),
        *published_picture(results),
        *content.pictures(first, worst_count, history),
    ]
    config = folder / "config.json"
    page = render_html(
        title=f"{first.name} on {first.split.scheme.name}",
        lines=[*notes, *lines_of(results)],
        tables=tables,
        pictures=[{"title": picture.title, "text": picture.text, "png": picture.png} for picture in pictures],
        details={"Options of the run": config.read_text(encoding="utf-8")} if is_run(folder) else {},
    )
    metrics = metrics_of(results)
    for picture in pictures:
        with atomic_file(folder / f"{picture.name}.png", claims=claims) as path:
            path.write_bytes(picture.png)
    with atomic_file(folder / "predictions.npz", ".npz", claims) as path:
        arrays: dict[str, Any] = {"name": first.split.name, "predicted": first.predicted, "truth": first.truth}
        arrays[first.split.scheme.metric] = first.values
        np.savez(path, **arrays)
    with atomic_file(folder / "report.html", claims=claims) as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "metrics.json", metrics, claims)
    return json.loads(json.dumps(metrics))


@dataclass(frozen=True)
class EvaluationOptions(DatasetOptions):
    """Test networks on a prepared dataset: NME, FR, AUC per subset, CED, images, report.html."""

    weights: list[str] = option([], "weights (.h5 with a card) to test; images are drawn for the first")
    split: str = option("test", "test or train", choices=("test", "train"))
    compare_with_runs: bool = option(
        False, "also test the dataset's newest teachers, plain students and distilled students", also="--beside"
    )
    reference: str = option(
        "", "reference network; reports the others' mean distance (AKD) to its landmarks", also="--teacher"
    )
    flip_test: bool = option(
        False, "test the weights first with predictions averaged over each face and its mirror image", also="--mirror"
    )
    finder: bool = option(False, "also test the weights as in predict: crops by the package's own finder")
    source: str = option(
        "",
        "with --finder: folder of the photographs to search for faces, as given to prepare; by default the stored "
        "crops with their border",
    )
    worst: int = option(20, "number of worst faces to draw", within=(1, math.inf))
    batch_size: int = option(32, "faces per step", within=(1, math.inf))
    plugin: list[str] = option([], "Python files that define the custom layers of a network")
    output: str = option("", "folder for the results; by default the weights' run folder")
    runs: Path = option(Path("runs"), "folder of the runs")

    def check(self) -> None:
        """Raise `UserError` for options with which no test can begin."""
        if not self.weights:
            raise UserError("give --weights, e.g. --weights runs/w300/student-kd_loss/best.h5")
        open_dataset(self.dataset, self.data)
        if self.source and not self.finder:
            raise UserError("--source is for --finder, which searches those photographs for the faces")
        if self.source and not Path(self.source).is_dir():
            raise UserError(f"no such folder: {self.source}; give the --source that prepare was given")
