"""The students of a comparison: from what `compare --methods` names to the options of each training."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from kd_loss.evaluation.options import CompareOptions
from kd_loss.training.methods import split_methods
from kd_loss.training.options import StudentOptions
from kd_loss.training.stages import heard_by, named_stages, narrowed, read_stage, settings_of, split_stages


def trainings_of(method: str) -> list[list[str]]:
    """The methods of each stage, or of the one training."""
    stages = [read_stage(stage, "--methods").methods for stage in split_stages(method)]
    return stages or [split_methods(method)]


def epochs_of(method: str, epochs: int) -> int:
    """How long a student of it is trained, where those of one training have `epochs`."""
    return sum(read_stage(stage, "--methods").epochs for stage in split_stages(method)) or epochs


def student_options(options: CompareOptions, method: str, seed: int, folder: str) -> StudentOptions:
    """One student of a comparison; the settings and the teachers of other methods are left out."""
    trainings = trainings_of(method)
    shared = {f.name: getattr(options, f.name) for f in dataclasses.fields(CompareOptions)}
    del shared["methods"], shared["seeds"]
    shared["set"] = settings_of(options.set, [part for training in trainings for part in training])
    name = f"{folder}/{re.sub('[^A-Za-z0-9_+.-]+', '-', method).strip('-')}-seed{seed}"
    stages = split_stages(method)
    own_way: dict[str, Any] = {"stages": stages} if stages else {"method": trainings[0]}
    student = StudentOptions(**{**shared, **own_way, "seed": seed, "name": name})
    heard = {role for training in trainings for role in heard_by(training, options.set, options.teacher)}
    student = narrowed(student, heard)
    parent = options.runs / options.dataset
    started = any((parent / stage.name / "config.json").is_file() for stage in named_stages(student))
    return dataclasses.replace(student, resume=started)
