"""Train a student, distilled or alone, in one stage or several."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, open_dataset
from kd_loss.distillation import MethodUse
from kd_loss.distillation.plugins import OF_YOUR_OWN, load_plugins
from kd_loss.networks import HEADS, load_network
from kd_loss.networks.architecture_registry import check_registered
from kd_loss.networks.backbones import arch_name
from kd_loss.networks.landmark_net import TAPS
from kd_loss.runs.folder import has_run
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import atomic_file
from kd_loss.training.faces import Unlabelled, augmentation_of
from kd_loss.training.method_specs import name_of, parse_methods, parse_stages, stage_name, with_teachers
from kd_loss.training.options import StudentOptions, checked
from kd_loss.training.processes import join
from kd_loss.training.teachers.choose import LIVE, RECORDED, Recorder, choose_mode, with_errors
from kd_loss.training.teachers.files import (
    TeacherSource,
    named_teachers,
    open_sources,
    shares_trunk,
    teacher_files,
    with_start,
)
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher, Teacher
from kd_loss.training.trainer import Training
from kd_loss.training.unlabelled_faces import listing_checksum, photographs, unlabelled_split

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StudentPlan:
    """A student training with checked options: its open dataset, and its methods with their teachers."""

    options: StudentOptions
    dataset: PreparedDataset
    methods: list[MethodUse]


def train_student(options: StudentOptions, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Path:
    """Train a student and return its run folder; its teachers are found by role and dataset.

    With stages, each stage is a run of its own that starts from the last weights of the previous one. Keras
    `callbacks` take part in every stage.
    """
    stages = parse_stages(options)
    if not stages:
        return _train_stage(plan_student(options), f"student-{name_of(options.method)}", callbacks)
    dataset = open_dataset(options.dataset, options.data)
    plans = [plan_student(stage, dataset) for stage in stages]  # reports errors of later stages before the first runs
    whole = "student-" + "-".join(name_of(stage.method) for stage in stages)
    folder, init = Path(), options.init
    for number, plan in enumerate(plans, 1):
        name, default = (stage_name(one, number, len(plans)) for one in (options.name, whole))
        parent = options.runs / dataset.folder.name
        resume = options.resume and (number == 1 or has_run(parent, name, default))
        log.info(f"stage {number} of {len(plans)}: {options.stages[number - 1]}")
        own = dataclasses.replace(plan.options, name=name, init=init, resume=resume)
        folder = _train_stage(dataclasses.replace(plan, options=own), default, callbacks)
        init = str(folder / "last.h5")
    return folder


def plan_student(options: StudentOptions, dataset: PreparedDataset | None = None) -> StudentPlan:
    """Check everything that can be checked without loading a network; opens the dataset if none is given."""
    options = checked(options)
    load_plugins(options.plugin)
    arch_name(options.arch)
    own_head = bool(options.head) and HEADS[choose(options.head, HEADS, "head", OF_YOUR_OWN)].own
    methods = with_teachers(parse_methods(options.method, options.method_arg), named_teachers(options))
    wanted = [options.freeze, *(tap for use in methods for tap in (*use.method.student_taps, *use.method.teacher_taps))]
    for tap in wanted:
        if tap and tap not in TAPS and not own_head:
            raise UserError(f"there is no tap '{tap}'; taps are: {', '.join(TAPS)}")
    dataset = dataset or open_dataset(options.dataset, options.data)
    options = dataclasses.replace(options, dataset=dataset.folder.name)
    if options.visibility and not isinstance(dataset.scheme, LandmarkScheme):
        raise UserError(f"--visibility is for landmarks, and the targets of {options.dataset} are head poses")
    texts = [text for texts, _ in teacher_files(options, methods, dataset.folder.name).values() for text in texts]
    for text in texts:
        if not Path(text).is_file() and not Path(text.partition(":")[0]).is_file():
            raise UserError(f"no such weights: {text}")
    if options.unlabelled:
        if not any(use.teachers for use in methods):
            raise UserError(
                f"--unlabelled needs a teacher, whose predictions replace the {dataset.scheme.predicted}: "
                "not --method none"
            )
        photographs(Path(options.unlabelled))
    return StudentPlan(options, dataset, methods)


def _train_stage(plan: StudentPlan, default_name: str, callbacks: Sequence[keras.callbacks.Callback]) -> Path:
    dataset, methods = plan.dataset, plan.methods
    processes = join(plan.options)
    check_registered(plan.options.arch, plan.options.size or dataset.size, plan.options.alpha)
    options = with_start(plan.options, methods, dataset.folder.name)
    if options.init not in ("", "teacher") and not Path(options.init).is_file():
        raise UserError(f"--init: no such weights: {options.init}")
    taps = sorted({tap for use in methods for tap in use.method.teacher_taps} | {"landmarks"})
    sources = open_sources(options, methods, dataset)
    if not options.init and not options.resume and any(shares_trunk(source, options) for source in sources):
        log.info("hint: a teacher has the student's backbone; --init teacher starts from its trunk")
    mode = choose_mode(options, sources, taps, dataset.scheme) if sources else RECORDED
    recorder = Recorder(options, dataset, taps, augmentation_of(options))
    with processes.first_before_the_others():
        sources = recorder.with_maps(sources)
        teachers = recorder.teachers(sources, mode)
    if any(use.method.needs_errors for use in methods):
        teachers = with_errors(teachers, dataset.split("train"))
    record: dict[str, Any] = {"teachers": _record(sources)} if sources else {}
    unlabelled = None
    if options.unlabelled:
        with processes.first_before_the_others():
            unlabelled, record["unlabelled"] = _unlabelled(recorder, sources, teachers)
        record["photographs_sha256"] = listing_checksum(Path(options.unlabelled))
    if mode == LIVE and processes.devices > 1:  # networks called in the step must be on every device
        with processes.data_parallel():
            keras.utils.set_random_seed(options.seed)  # initial weights must match everywhere, too, before loading
            for source in sources:
                again = LiveTeacher(load_network(source.file), taps, source.weight)
                again.training_errors = teachers[source.role].training_errors
                teachers[source.role] = again
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
    ).run(callbacks)
    for source in sources if not processes.index else ():
        if source.map is not None:
            source.map.save(folder / f"map-{source.file.stem}.npz")
        errors = teachers[source.role].training_errors
        if errors is not None:
            with atomic_file(folder / f"errors-{source.role}.npy", ".npy") as path:
                np.save(path, errors)
    return folder


def _record(sources: Sequence[TeacherSource]) -> dict[str, Any]:
    """The record of the teachers that the run keeps, by role; a list for a teacher of several networks."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        kept.setdefault(source.role, []).append(source.record())
    return {role: members[0] if len(members) == 1 else members for role, members in kept.items()}


def _unlabelled(
    recorder: Recorder, sources: Sequence[TeacherSource], teachers: dict[str, Teacher]
) -> tuple[Unlabelled, dict[str, Any]]:
    """The unlabelled faces with the teachers' predictions on them, and the run's record of them."""
    options, dataset = recorder.options, recorder.dataset
    split, checksum = unlabelled_split(options, dataset, sources[0])
    predictions, answers = [], {}
    for role, teacher in teachers.items():
        members = [source for source in sources if source.role == role]
        seen = recorder.answers(members, split, checksum, ["landmarks"])
        predictions.append(seen.landmarks[0])
        if isinstance(teacher, RecordedTeacher):
            answers[role] = recorder.seen(members[0], split, checksum) if options.teacher_views else seen
    mean = np.average(predictions, axis=0, weights=[teacher.weight for teacher in teachers.values()]).astype(np.float32)
    split = dataclasses.replace(split, target=mean, soft=mean)
    of, targets = f"the mean of {len(teachers)} teachers' predictions", dataset.scheme.predicted
    log.info(f"unlabelled: {len(split)} faces, {of} as their {targets}")
    kept = {"faces": len(split), "images_sha256": checksum}
    return Unlabelled(split, answers, options.unlabelled_weight, options.mix_weight, options.mix_alpha), kept
