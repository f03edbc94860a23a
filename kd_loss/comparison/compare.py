"""The command `compare`: several methods on equal terms.

Each student is a run of its own under `runs/<dataset>/<name>/`, so that an interrupted comparison resumes
where it stopped, and a method that fails does not affect the others.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.comparison.curves import History, curves_plot
from kd_loss.comparison.joined import joined_students
from kd_loss.comparison.summary import START, AnyResult, explanation, rows_of, summarise
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit, open_dataset
from kd_loss.distillation.plugins import load_plugins
from kd_loss.evaluation.found import found_result
from kd_loss.evaluation.official import labels_of
from kd_loss.evaluation.plots import ced_plot
from kd_loss.evaluation.registry import content_of
from kd_loss.evaluation.report import print_table, published_tables, render_html
from kd_loss.evaluation.result import Result, mean_teacher, test_network, with_teacher
from kd_loss.runs.history import read_history
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import option
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, atomic_file, read_json, write_json
from kd_loss.system.overwrite_guard import check_free, claim
from kd_loss.system.terminal import counted
from kd_loss.training.method_specs import (
    named_stages,
    narrowed,
    parse_methods,
    read_method,
    read_stage,
    roles_used,
    settings_of,
    split_methods,
    split_stages,
)
from kd_loss.training.options import DistillationOptions, StudentOptions
from kd_loss.training.resume_check import check_same
from kd_loss.training.teachers.files import teacher_files, with_start
from kd_loss.training.train_student import plan_student, train_student

log = logging.getLogger(__name__)
#: files that a comparison writes to its folder
FILES = ("compare.json", "report.html", "ced.png", "curves.png")


def check_first(
    options: CompareOptions, folder: str, dataset: PreparedDataset
) -> dict[tuple[str, int], StudentOptions]:
    """Check the methods, their settings and teachers before any training; return the students of the table."""
    load_plugins(options.plugin)
    names = [student_options(options, method, options.seed, folder).name for method in options.methods]
    for number, name in enumerate(names):
        if name in names[:number]:
            first, again = options.methods[names.index(name)], options.methods[number]
            raise UserError(f"--methods has a method twice, or two whose runs share a name: '{first}' and '{again}'")
    trainings = [parts for method in options.methods for parts in trainings_of(method)]
    owners = {read_method(part, "--methods").name for parts in trainings for part in parts}
    for text in options.method_arg:
        if text.partition(".")[0] not in owners:
            raise UserError(f"--method-arg {text}: no such method among {', '.join(sorted(owners))}")
    for method in options.methods:
        for stage in named_stages(student_options(options, method, options.seed, folder)):
            plan_student(stage, dataset)
        for seed in range(options.seed, options.seed + options.seeds):
            for stage in named_stages(student_options(options, method, seed, folder)):
                check_same(stage, dataset)
    table = students(options, folder, dataset)
    if options.finder and not isinstance(dataset.scheme, LandmarkScheme):
        raise UserError(f"--finder: it is for landmarks, and the targets of {options.dataset} are head poses")
    place = options.runs / options.dataset / folder
    if not _is_comparison(place):
        check_free(place, FILES)  # fail before hours of training
    return table


def _is_comparison(folder: Path) -> bool:
    try:
        return {"methods", "failures"} <= read_json(folder / "compare.json", "the comparison").keys()
    except UserError:
        return False


def run_compare(options: CompareOptions) -> dict[str, Any]:
    """Train missing students, test all, write `compare.json` and `report.html`; return the contents of the former.

    Raises:
        UserError: a training failed; the others are still compared.
    """
    place = options.runs / open_dataset(options.dataset, options.data).folder.name / (options.name or "compare")
    with alone_in(place):
        summary = _compare(options)
    failures = summary["failures"]
    if failures:
        of = counted(len(options.methods) * options.seeds, "training")
        who, why = next(iter(failures.items()))
        raise UserError(f"{len(failures)} of {of} failed ({who}: {why}); the others are compared in {place}")
    return summary


def _compare(options: CompareOptions) -> dict[str, Any]:
    folder_name = options.name or "compare"
    dataset = open_dataset(options.dataset, options.data)
    options = replace(options, dataset=dataset.folder.name)
    from_teacher = options.init == "teacher"
    options = with_one_start(options, dataset)
    table = check_first(options, folder_name, dataset)
    split = dataset.split("test")
    parent = options.runs / options.dataset
    results: dict[str, list[AnyResult]] = {}
    seeds: dict[str, list[int]] = {}
    histories: dict[str, list[History]] = {}
    failures: dict[str, str] = {}
    for (method, seed), student in table.items():
        run = parent / student.name
        try:
            if not (run / "finished.json").is_file():
                keras.backend.clear_session()
                log.info(f"== {method}, seed {seed} ==")
                train_student(student)
            results.setdefault(method, []).append(test_network(run / "best.h5", method, dataset, split, 32))
            seeds.setdefault(method, []).append(seed)
        except Exception as error:
            failures[f"{method}, seed {seed}"] = f"{type(error).__name__}: {error}"
            log.warning(f"failed: {method}, seed {seed}: {error}")
            continue
        rows = [row for stage in named_stages(student) for row in read_history(parent / stage.name / "history.csv")]
        if rows:
            histories.setdefault(method, []).append(rows)
    if not results:
        raise UserError(f"every method failed; the first: {next(iter(failures.values()))}")
    if options.init and not from_teacher:
        try:
            results = {START: [test_network(Path(options.init), START, dataset, split, 32)], **results}
        except UserError as error:  # of another scheme: it has no landmarks to compare
            log.warning(f"the starting network is not in the table: {error}")
    results, teacher, taught_by = _with_teacher(options, results, dataset, split)
    seconds = {
        name: float(np.median([row["seconds"] for rows in runs for row in rows])) for name, runs in histories.items()
    }
    summary = {**summarise(results, seconds, failures, seeds), "teacher": teacher}
    if options.finder:
        summary["finder"] = by_finder(results)
    write_comparison(parent / folder_name, options, results, summary, curves_plot(histories, taught_by))
    return summary


def students(options: CompareOptions, folder: str, dataset: PreparedDataset) -> dict[tuple[str, int], StudentOptions]:
    """Return the students of the table, (method, seed) -> options: the comparison's own, and those of `--join`."""
    asked = [(m, seed) for seed in range(options.seed, options.seed + options.seeds) for m in options.methods]
    own = {(method, seed): student_options(options, method, seed, folder) for method, seed in asked}
    joined = joined_students(
        [name for name in options.join if name != folder],
        options.runs / options.dataset,
        lambda method, seed, name: student_options(options, method, seed, name),
        dataset,
    )
    return {
        **joined,
        **{key: joined.get(key, student) if not student.resume else student for key, student in own.items()},
    }


def with_one_start(options: CompareOptions, dataset: PreparedDataset) -> CompareOptions:
    """Resolve `--init teacher` to a file, the same for every method, whether or not it uses that teacher."""
    if options.init != "teacher":
        return replace(options, init=str(weights_path(options.init))) if options.init else options
    load_plugins(options.plugin)
    stages = [s for method in options.methods for s in named_stages(student_options(options, method, 0, "compare"))]
    methods = [method for stage in stages for method in parse_methods(stage.method, stage.method_arg)]
    given = {"teacher": options.teacher, "tough": options.tough, "tolerant": options.tolerant, "init": options.init}
    return replace(options, init=with_start(replace(stages[0], **given), methods, dataset.folder.name).init)  # type: ignore[arg-type]


def _with_teacher(
    options: CompareOptions, results: dict[str, list[AnyResult]], dataset: PreparedDataset, split: PreparedSplit
) -> tuple[dict[str, list[AnyResult]], str, History]:
    """Add the distance to the first teacher that can be run.

    Returns:
        The results, the teacher's name, e.g. `tough: best.h5`, and the history of its training, if there is one.
    """
    if not isinstance(next(iter(results.values()))[0], Result):
        return results, "", ()
    files: dict[str, list[str]] = {}
    for method in dict.fromkeys([*options.methods, *(name for name in results if name != START)]):
        for stage in named_stages(student_options(options, method, options.seed, "")):
            found = teacher_files(stage, parse_methods(stage.method, stage.method_arg), dataset.folder.name)
            files |= {role: texts for role, (texts, _) in found.items() if role not in files}
    for role, texts in files.items():
        try:
            if any(text.partition(":")[0].endswith(".py") for text in texts):
                raise UserError(f"{role} is a Python function")
            members = [test_network(Path(text), role, dataset, split, 32) for text in texts]
            teacher_landmarks = mean_teacher(members, "+".join(texts))
        except UserError as error:  # of another runtime, or another scheme
            log.warning(f"no distance to the teacher: {error}")
            continue
        named = f"{role}: {' + '.join(texts)}"
        results = {name: [with_teacher(run, teacher_landmarks) for run in runs] for name, runs in results.items()}
        return results, named, _history_beside(texts)
    return results, "", ()


def _history_beside(teacher: Sequence[str]) -> History:
    """Return the history in the teacher's folder; empty for several networks, or if that file is something else."""
    try:
        return read_history(Path(teacher[0]).with_name("history.csv")) if len(teacher) == 1 else ()
    except UserError:
        return ()


def by_finder(results: Mapping[str, Sequence[AnyResult]]) -> dict[str, list[dict[str, float]]]:
    """Test every student on the faces that the package's own finder sees, in the finder's crops.

    Returns:
        Method -> for each seed NME in % over the faces found, NME of the same faces with crops about the annotated
        points, and the number of faces found.
    """
    return {
        method: [
            {
                "nme": float(np.nanmean(found.nme)),
                "nme_annotated": found.network["found_nme_annotated"],
                "found": found.network["found"],
            }
            for found in (found_result(run, flip_test=False) for run in runs)
        ]
        for method, runs in results.items()
    }


def _finder_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    header = ["method", "finder's crops, NME %", "annotated crops, NME %", "faces found"]
    rows = [
        [method, *(f"{np.mean([seed[key] for seed in seeds]):.2f}" for key in ("nme", "nme_annotated"))]
        + [f"{np.mean([seed['found'] for seed in seeds]):g}"]
        for method, seeds in found.items()
    ]
    return {
        "title": "The same students on the faces that the finder sees, mean over seeds",
        "header": header,
        "rows": rows,
    }


def unequal(options: CompareOptions) -> list[str]:
    """Return a line for each method whose stages are longer or shorter than the other methods' epochs."""
    lengths = {method: epochs_of(method, options.epochs) for method in options.methods}
    return [
        f"{method} has {epochs} epochs in all, the others {options.epochs}."
        for method, epochs in lengths.items()
        if epochs != options.epochs
    ]


def _published(results: Mapping[str, Sequence[AnyResult]]) -> list[dict[str, Any]]:
    """Build the table of published figures; none for head poses or if no official subset is complete."""
    own = {name: [run for run in runs if isinstance(run, Result)] for name, runs in results.items()}
    first = next(iter(own.values()))
    return published_tables(first[0].split, own) if first else []


def write_comparison(
    folder: Path,
    options: CompareOptions,
    results: Mapping[str, Sequence[AnyResult]],
    summary: Mapping[str, Any],
    curves: bytes | None,
) -> None:
    """Print the table; write `compare.json`, `ced.png`, `curves.png`, and `report.html`."""
    first = next(iter(results.values()))[0]
    scheme = first.split.scheme
    content = content_of(scheme)
    header, rows = rows_of(summary, scheme.metric, content.shares, list(first.more()), labels_of(first.split))
    title = content.title(scheme)
    print_table(title, header, rows, turned=len(first.more()) > 1)  # one column per method if there are many figures
    seen = [_finder_table(summary["finder"])] if "finder" in summary else []
    for table in seen:
        print_table(table["title"], table["header"], table["rows"], turned=False)
    errors = {method: np.concatenate([run.values for run in runs]) for method, runs in results.items()}
    distribution = ced_plot(errors, words=scheme.metric_words)
    size, teacher = first.network["size"], summary["teacher"]
    lengths = unequal(options)
    seeds = max(entry["seeds"] for entry in summary["methods"].values())
    for line in lengths:
        print(line)
    page = render_html(
        title=f"Methods compared on {scheme.name}",
        lines=[
            f"{options.arch}, {size} px, {options.epochs} epochs, batch {options.batch_size}, "
            f"{counted(seeds, 'seed')}.",
            *lengths,
            *explanation(seeds),
            *([f"akd: 1/K Σ ‖S − T‖ to the landmarks of {teacher}, in units of the −1…1 grid."] if teacher else []),
            *(f"failed: {who}: {why}" for who, why in summary["failures"].items()),
        ],
        tables=[{"title": title, "header": header, "rows": rows}, *_published(results), *seen],
        pictures=[
            {"title": "Cumulative error distribution", "text": "all seeds together", "png": distribution},
            *([{"title": "Error by epoch", "text": "mean and range of the seeds", "png": curves}] if curves else []),
        ],
        details={},
    )
    if not _is_comparison(folder):
        claim(folder, FILES)
    for name, png in (("ced.png", distribution), *([("curves.png", curves)] if curves else [])):
        with atomic_file(folder / name) as path:
            path.write_bytes(png)
    with atomic_file(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "compare.json", summary)
    print(f"report: {folder / 'report.html'}")


@dataclass(frozen=True)
class CompareOptions(DistillationOptions):
    """Train a student by each method with the same seeds, epochs and data, and compare them on the test faces."""

    methods: list[str] = option(
        ["none", "kd_loss"], "methods, with settings of their own in parentheses: 'kd(imitation=0.5)'; a combination "
        "as kd_loss+srrl:0.1; stages, one after the other, as 'aht(alpha=0)=20/ail=20@P5'", group="methods",
    )  # fmt: skip
    seeds: int = option(3, "students per method; their seeds count up from --seed", within=(1, 1000))
    join: list[str] = option(
        [], "names of earlier comparisons of this dataset: their students join the table and are not trained again, if "
        "the options are the same", group="methods",
    )  # fmt: skip
    finder: bool = option(False, "also test the students as in predict: crops by the package's own finder")


def trainings_of(method: str) -> list[list[str]]:
    """Return the methods of each stage, or of the single training."""
    stages = [read_stage(stage, "--methods").methods for stage in split_stages(method)]
    return stages or [split_methods(method)]


def epochs_of(method: str, epochs: int) -> int:
    """Return the epochs of a student's training; `epochs` is the number for a single training."""
    return sum(read_stage(stage, "--methods").epochs for stage in split_stages(method)) or epochs


def student_options(options: CompareOptions, method: str, seed: int, folder: str) -> StudentOptions:
    """Build the options of one student of a comparison, without the settings and teachers of other methods."""
    trainings = trainings_of(method)
    shared = {f.name: getattr(options, f.name) for f in dataclasses.fields(CompareOptions)}
    for name in ("methods", "seeds", "join", "finder"):
        del shared[name]
    shared["method_arg"] = settings_of(options.method_arg, [part for training in trainings for part in training])
    name = f"{folder}/{re.sub('[^A-Za-z0-9_+.-]+', '-', method).strip('-')}-seed{seed}"
    stages = split_stages(method)
    own_way: dict[str, Any] = {"stages": stages} if stages else {"method": trainings[0]}
    student = StudentOptions(**{**shared, **own_way, "seed": seed, "name": name})
    used = {role for training in trainings for role in roles_used(training, options.method_arg, options.teacher)}
    student = narrowed(student, used)
    parent = options.runs / options.dataset
    started = any((parent / stage.name / "config.json").is_file() for stage in named_stages(student))
    return dataclasses.replace(student, resume=started)
