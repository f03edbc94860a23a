"""Train a student, distilled or alone."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit, open_dataset
from kd_loss.distillation import METHODS, DistillationMethod, Teacher, get_method
from kd_loss.errors import UserError, choose
from kd_loss.files import sha256
from kd_loss.networks import ARCHITECTURES, load_network
from kd_loss.networks.prediction import check_fit, predict_split
from kd_loss.training.options import StudentOptions
from kd_loss.training.run import find_teacher
from kd_loss.training.train import Tell, check, train


def _weighted(text: str, what: str) -> tuple[str, float]:
    """`name:0.5` -> (name, 0.5); the weight is 1 where none is given."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        value = float(weight)
    except ValueError:
        return text, 1.0  # a colon of a path
    if not 0 < value < float("inf"):
        raise UserError(f"{what} {text}: the weight is not positive")
    return name, value


def parse_methods(methods: Sequence[str], settings: Iterable[str]) -> dict[DistillationMethod, float]:
    """`["kd_loss", "srrl:0.1"]` and `["srrl.beta=0.5"]` -> method -> weight."""
    weights: dict[str, float] = {}
    for text in methods:
        name, weight = _weighted(text, "--method")
        name = choose(name, METHODS, "method")
        if name in weights:
            raise UserError(f"--method {name} is given twice")
        weights[name] = weight
    parameters: dict[str, dict[str, Any]] = {name: {} for name in weights}
    for text in settings:
        key, equals, value = text.partition("=")
        owner, dot, parameter = key.partition(".")
        if not equals or not dot or owner not in weights:
            raise UserError(
                f"--set {text} is not of the form method.parameter=value, method one of {', '.join(weights)}"
            )
        try:
            parameters[owner][parameter] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[owner][parameter] = value
    return {get_method(name, parameters[name]): weight for name, weight in weights.items()}


def teacher_files(
    options: StudentOptions, methods: Iterable[DistillationMethod], dataset: str
) -> dict[str, tuple[Path, float]]:
    """Role -> weights file and weight of every teacher that the methods listen to."""
    files: dict[str, tuple[Path, float]] = {}
    for text in options.teacher:
        name, equals, rest = text.partition("=")
        if not equals or not name or not rest:
            raise UserError(f"--teacher {text} is not of the form name=weights.h5[:weight]")
        path, weight = _weighted(rest, "--teacher")
        files[name] = (Path(path), weight)
    given = {"tough": options.tough, "tolerant": options.tolerant}
    for method in methods:
        if method.any_teachers and files:
            continue
        for role in method.teacher_roles:
            if role not in files:
                files[role] = (find_teacher(role, dataset, given.get(role, ""), options.runs), 1.0)
    return files


def training_errors(teacher: Teacher, split: PreparedSplit) -> np.ndarray:
    """The teacher's mean squared error on each training face, (N,), unaugmented."""
    predicted = predict_split(teacher.network, split, 32)
    return np.square(predicted - split.landmarks).mean(axis=(1, 2))


def train_student(options: StudentOptions, tell: Tell = print) -> Path:
    """Train a student and return its run folder; its teachers are found by role and dataset."""
    check(options)
    arch = choose(options.arch, ARCHITECTURES, "architecture")
    methods = parse_methods(options.method, options.set)
    dataset = open_dataset(options.dataset, options.data)
    taps = sorted({tap for method in methods for tap in method.teacher_taps} | {"landmarks"})
    teachers: dict[str, Teacher] = {}
    files: dict[str, dict[str, Any]] = {}
    for role, (path, weight) in teacher_files(options, methods, dataset.folder.name).items():
        network = load_network(path)
        check_fit(network, dataset, path)
        if role in ("tough", "tolerant") and network.card.role != role:
            tell(f"warning: {path} was trained as {network.card.role}, it is used as the {role} teacher")
        teachers[role] = Teacher(network, taps, weight)
        files[role] = {
            "weights": str(path),
            "sha256": sha256(path),
            "arch": network.card.arch,
            "size": network.card.size,
            "share": weight,
        }
    if any(method.needs_errors for method in methods):
        split = dataset.split("train")
        for role, teacher in teachers.items():
            teacher.training_errors = training_errors(teacher, split)
            low, high = teacher.training_errors.min(), teacher.training_errors.max()
            tell(f"{role} teacher: squared errors of {low:.2e} to {high:.2e} on the training faces")
    names = "+".join(method.name_on_command_line for method in methods)
    return train(
        dataclasses.replace(options, dataset=dataset.folder.name),
        dataset=dataset,
        arch=arch,
        role="student",
        default_name=f"student-{names}",
        methods=methods,
        teachers=teachers,
        record={"teachers": files} if files else None,
        tell=tell,
    )
