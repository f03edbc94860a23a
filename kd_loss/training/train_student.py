"""Train a student, distilled or alone, in one stage or several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset
from kd_loss.distillation import DistillationMethod
from kd_loss.networks import ARCHITECTURES, load_network
from kd_loss.networks.landmark_net import TAPS
from kd_loss.runs.folder import has_run
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import atomic_file
from kd_loss.training.faces import Unlabelled, augmentation_of
from kd_loss.training.method_specs import load_plugins, name_of, parse_methods, parse_stages, stage_name
from kd_loss.training.options import StudentOptions, checked
from kd_loss.training.processes import join
from kd_loss.training.teachers.choose import (
    LIVE,
    RECORDED,
    answers_about,
    ask_once,
    choose_asking,
    make_teachers,
    mapped,
    measure_errors,
)
from kd_loss.training.teachers.files import Source, open_sources, shares_trunk, teacher_files, with_start
from kd_loss.training.teachers.recorded import Views
from kd_loss.training.teachers.teacher import RecordedTeacher, Teacher
from kd_loss.training.trainer import Tell, Training
from kd_loss.training.unlabelled_faces import listing_checksum, photographs, unlabelled_split


def train_student(
    options: StudentOptions, tell: Tell = print, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> Path:
    """Train a student and return its run folder; its teachers are found by role and dataset.

    With stages, each is a run of its own that starts from the last weights of the one before. `callbacks` of Keras
    take part in every one.
    """
    stages = parse_stages(options)
    if not stages:
        return _train_stage(options, f"student-{name_of(options.method)}", tell, callbacks)
    for stage in stages:  # refuse what is wrong with a later one before the first is trained
        check_student(stage)
    options = dataclasses.replace(options, dataset=open_dataset(options.dataset, options.data).folder.name)
    whole = "student-" + "-".join(name_of(stage.method) for stage in stages)
    folder, init = Path(), options.init
    for number, stage in enumerate(stages, 1):
        name, default = (stage_name(one, number, len(stages)) for one in (options.name, whole))
        parent = options.runs / options.dataset
        resume = options.resume and (number == 1 or has_run(parent, name, default))
        tell(f"stage {number} of {len(stages)}: {options.stages[number - 1]}")
        folder = _train_stage(dataclasses.replace(stage, name=name, init=init, resume=resume), default, tell, callbacks)
        init = str(folder / "last.h5")
    return folder


def check_student(options: StudentOptions) -> tuple[PreparedDataset, dict[DistillationMethod, float]]:
    """Refuse what can be refused without loading a network; the dataset and the methods."""
    checked(options)
    choose(options.arch, ARCHITECTURES, "architecture")
    load_plugins(options.plugin)
    methods = parse_methods(options.method, options.set)
    asked = [options.freeze, *(tap for method in methods for tap in (*method.student_taps, *method.teacher_taps))]
    for tap in asked:
        if tap and tap not in TAPS:
            raise UserError(f"there is no tap '{tap}'; taps are: {', '.join(TAPS)}")
    dataset = open_dataset(options.dataset, options.data)
    texts = [text for texts, _ in teacher_files(options, methods, dataset.folder.name).values() for text in texts]
    for text in texts:
        if not Path(text).is_file() and not Path(text.partition(":")[0]).is_file():
            raise UserError(f"no such weights: {text}")
    if options.unlabelled:
        if not any(method.any_teachers or method.teacher_roles for method in methods):
            raise UserError(
                f"--unlabelled wants a teacher, whose predictions stand for the {dataset.spec.predicted}: "
                "not --method none"
            )
        photographs(Path(options.unlabelled))
    return dataset, methods


def _train_stage(
    options: StudentOptions, default_name: str, tell: Tell, callbacks: Sequence[keras.callbacks.Callback]
) -> Path:
    dataset, methods = check_student(options)
    options = dataclasses.replace(checked(options), dataset=dataset.folder.name)
    taps = sorted({tap for method in methods for tap in method.teacher_taps} | {"landmarks"})
    processes = join(options)
    tell = tell if not processes.index else lambda _: None
    options = with_start(options, methods, dataset.folder.name)
    sources = open_sources(options, methods, dataset, tell)
    if not options.init and not options.resume and any(shares_trunk(source, options) for source in sources):
        tell("hint: a teacher has the student's backbone; --init teacher starts from its trunk, which gains most")
    asking = choose_asking(options, sources, taps, dataset.spec) if sources else RECORDED
    augmentation = augmentation_of(options)
    with processes.first_before_the_others():
        teachers = make_teachers(options, sources, asking, taps, dataset, augmentation, tell)
    if any(method.needs_errors for method in methods):
        measure_errors(teachers, dataset.split("train"), tell)
    record: dict[str, Any] = {"teachers": _record(sources)} if sources else {}
    unlabelled = None
    if options.unlabelled:
        with processes.first_before_the_others():
            unlabelled, record["unlabelled"] = _unlabelled(options, dataset, sources, teachers, taps, tell)
        record["photographs_sha256"] = listing_checksum(Path(options.unlabelled))
    if asking == LIVE:  # networks that take part in the step belong on every device
        with processes.data_parallel():
            keras.utils.set_random_seed(options.seed)  # what loading replaces has to be the same everywhere, too
            for source in sources if processes.devices > 1 else ():
                teachers[source.role].spread(load_network(source.file), taps)  # type: ignore[attr-defined]
    folder = Training(
        options,
        dataset,
        role="student",
        default_name=default_name,
        methods=methods,
        teachers=teachers,
        unlabelled=unlabelled,
        record=record,
        processes=processes,
        tell=tell,
    ).run(callbacks)
    for source in sources if not processes.index else ():
        if source.map is not None:
            source.map.save(folder / f"map-{source.file.stem}.npz")
        errors = teachers[source.role].training_errors
        if errors is not None:
            with atomic_file(folder / f"errors-{source.role}.npy", ".npy") as path:
                np.save(path, errors)
    return folder


def _record(sources: Sequence[Source]) -> dict[str, Any]:
    """What the run keeps of its teachers, by role; of one that is several networks a list."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        kept.setdefault(source.role, []).append(source.record())
    return {role: members[0] if len(members) == 1 else members for role, members in kept.items()}


def _unlabelled(
    options: StudentOptions,
    dataset: PreparedDataset,
    sources: Sequence[Source],
    teachers: dict[str, Teacher],
    taps: Sequence[str],
    tell: Tell,
) -> tuple[Unlabelled, dict[str, Any]]:
    """The unlabelled faces with the teachers' answers about them, and what the run keeps of them."""
    split, checksum = unlabelled_split(options, dataset, sources[0], tell)
    none = np.arange(0)
    predictions, answers = [], {}
    for role, teacher in teachers.items():
        members = [source for source in sources if source.role == role]
        seen = answers_about(options, members, ["landmarks"], split, checksum, none, tell)
        predictions.append(seen.landmarks[0])
        if isinstance(teacher, RecordedTeacher):
            answers[role] = seen
            if options.teacher_views:
                views = Views(options.teacher_views, augmentation_of(options), options.seed)
                seen = ask_once(options, members[0], taps, split, checksum, views, tell)
                answers[role] = mapped(members[0], seen, split, none, options, tell)
    mean = np.average(predictions, axis=0, weights=[teacher.weight for teacher in teachers.values()]).astype(np.float32)
    split = dataclasses.replace(split, landmarks=mean, soft=mean)
    of, targets = f"the mean of {len(teachers)} teachers' predictions", dataset.spec.predicted
    tell(f"unlabelled: {len(split)} faces, {of} as their {targets}")
    kept = {"faces": len(split), "images_sha256": checksum}
    return Unlabelled(split, answers, options.unlabelled_weight, options.mix_weight, options.mix_alpha), kept
