"""The students of a comparison: from what `compare --methods` names to the options of each training."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from kd_loss.evaluation.options import CompareOptions
from kd_loss.training.methods import parse_methods, read_method, split_methods
from kd_loss.training.options import StudentOptions
from kd_loss.training.student import named_stages


def _stages(method: str) -> list[str]:
    """The stages of `aht(alpha=0)=20/ail=20@P5`; none of a method that is trained at once."""
    return method.split("/") if re.search(r"=\d+(@\w+)?$", method) else []


def trainings_of(method: str) -> list[list[str]]:
    """The methods of each stage, or of the one training."""
    stages = [re.sub(r"=\d+(@\w*)?$", "", stage) for stage in _stages(method)] or [method]
    return [split_methods(stage) for stage in stages]


def student_options(options: CompareOptions, method: str, seed: int, folder: str) -> StudentOptions:
    """One student of a comparison; the settings of other methods are left out."""
    trainings = trainings_of(method)
    names = [read_method(part, "--methods").name for parts in trainings for part in parts]
    shared = {f.name: getattr(options, f.name) for f in dataclasses.fields(CompareOptions)}
    del shared["methods"], shared["seeds"]
    shared["set"] = [text for text in options.set if text.partition(".")[0] in names]
    given = [text.partition("=")[0] for text in options.teacher]
    heard: set[str] = set()
    for parts in trainings:
        own = {read_method(part).name for part in parts}
        made = parse_methods(parts, [text for text in shared["set"] if text.partition(".")[0] in own])
        heard.update(role for one in made for role in one.heard(given))
    # the others' teachers
    shared["teacher"] = [text for text in options.teacher if text.partition("=")[0] in heard]
    shared["tough"] = options.tough if "tough" in heard or options.init == "teacher" else ""
    shared["tolerant"] = options.tolerant if "tolerant" in heard else ""
    if not heard:  # nobody reads the landmarks of unlabelled faces, and there is nobody to ask
        defaults = StudentOptions()
        asking = ("unlabelled", "teachers", "teacher_views", "teacher_mirror", "map_points")
        shared.update({name: getattr(defaults, name) for name in asking})
    name = f"{folder}/{re.sub('[^A-Za-z0-9_+.-]+', '-', method).strip('-')}-seed{seed}"
    own_way: dict[str, Any] = {"stages": _stages(method)} if _stages(method) else {"method": trainings[0]}
    student = StudentOptions(**{**shared, **own_way, "seed": seed, "name": name})
    parent = options.runs / options.dataset
    started = any((parent / stage.name / "config.json").is_file() for stage in named_stages(student))
    return dataclasses.replace(student, resume=started)
