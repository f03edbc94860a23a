"""The students of earlier comparisons, for the table of another one.

A comparison grows: a method more, two seeds more. What was trained by the same options is not trained again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from kd_loss.datasets.prepared import PreparedDataset
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json
from kd_loss.training.method_specs import named_stages
from kd_loss.training.options import StudentOptions
from kd_loss.training.resume_check import changes

#: (method, seed, name of the comparison) -> options of that student
StudentOf = Callable[[str, int, str], StudentOptions]


def joined_students(
    names: Iterable[str], folder: Path, student_of: StudentOf, dataset: PreparedDataset
) -> dict[tuple[str, int], StudentOptions]:
    """Find the finished students of the comparisons `folder / name`; (method, seed) -> its options.

    Raises:
        UserError: there is no such comparison, a student was trained by other options, data or teachers, or two
            comparisons have the same one.
    """
    found: dict[tuple[str, int], StudentOptions] = {}
    for name in names:
        students = _students(name, folder / name, student_of)
        if not students:
            raise UserError(f"--join {name}: no finished student of a comparison in {folder / name}")
        for key, student in students.items():
            if key in found:
                twice = f"{key[0]}, seed {key[1]}"
                raise UserError(f"--join: {twice} is in {Path(found[key].name).parent} and in {name}")
            for stage in named_stages(student):
                if changed := changes(stage, dataset):
                    raise UserError(f"--join {name}: {stage.name} was trained with other options: {'; '.join(changed)}")
            found[key] = student
    return found


def _students(name: str, folder: Path, student_of: StudentOf) -> dict[tuple[str, int], StudentOptions]:
    found = {}
    for path in sorted(folder.glob("*-seed*/finished.json")):
        config = read_json(path.with_name("config.json"), "the configuration of the run")
        method = "/".join(config.get("stages") or []) or "+".join(config.get("method") or [])
        if not method or not isinstance(config.get("seed"), int):
            continue
        student = student_of(method, config["seed"], name)
        if Path(student.name).name == path.parent.name:  # else a stage of one, or no comparison's
            found[method, config["seed"]] = dataclasses.replace(student, resume=True)
    return found
