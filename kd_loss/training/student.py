"""Train a student, distilled or alone."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kd_loss.datasets.prepared import open_dataset
from kd_loss.distillation import METHODS, Teacher, get_method
from kd_loss.errors import UserError, choose
from kd_loss.networks import ARCHITECTURES, load_network
from kd_loss.training.options import StudentOptions
from kd_loss.training.run import find_teacher
from kd_loss.training.train import Tell, check, train


def parse_settings(settings: Iterable[str], method: str) -> dict[str, Any]:
    """`["kd_loss.variant=paper"]` -> `{"variant": "paper"}` for the method of that name."""
    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        owner, dot, parameter = key.partition(".")
        if not equals or not dot or owner != method:
            raise UserError(f"--set {text} is not of the form {method}.parameter=value")
        try:
            values[parameter] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[parameter] = value
    return values


def train_student(options: StudentOptions, tell: Tell = print) -> Path:
    """Train a student and return its run folder; its teachers are found by role and dataset."""
    check(options)
    arch = choose(options.arch, ARCHITECTURES, "architecture")
    name = choose(options.method, METHODS, "method")
    method = get_method(name, parse_settings(options.set, name))
    dataset = open_dataset(options.dataset, options.data)
    given = {"tough": options.tough, "tolerant": options.tolerant}
    teachers = {}
    for role in method.teacher_roles:
        path = find_teacher(role, dataset.folder.name, given[role], options.runs)
        network = load_network(path)
        tell(f"{role} teacher: {path} ({network.card.arch}, {network.card.size} px)")
        teachers[role] = Teacher(network, method.teacher_taps)
    return train(
        dataclasses.replace(options, dataset=dataset.folder.name),
        dataset=dataset,
        arch=arch,
        role="student",
        default_name=f"student-{name}",
        methods={method: 1.0},
        teachers=teachers,
        tell=tell,
    )
