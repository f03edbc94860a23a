"""Which teacher has which role: opens the teachers of a `Distiller` and gives each method those that it uses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kd_loss.distillation.base import MethodUse
from kd_loss.distillation.check import check_names
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.teacher import Teacher, as_teacher, class_to_make

log = logging.getLogger(__name__)


def open_teachers(
    teachers: Mapping[str, Any],
    uses: Sequence[MethodUse],
    scheme: Scheme,
    *,
    size: int | None,
    coordinates: Coordinates | str | tuple[float, float],
) -> tuple[dict[str, Teacher], dict[str, Sequence[str]]]:
    """Open the teachers and assign them to the methods.

    Args:
        teachers: role -> anything that `as_teacher` takes.
        uses: the methods.
        scheme: of the student's landmarks.
        size: side of the student's images in pixels.
        coordinates: unit of the landmarks of Keras models and functions.

    Returns:
        Role -> teacher, with the taps that its methods read; method -> the roles that it uses.

    Raises:
        UserError: a method lacks a teacher, or a teacher a tap, its errors or the student's points.
    """
    opened = {role: as_teacher(teacher, size=size, coordinates=coordinates) for role, teacher in teachers.items()}
    used: dict[str, Sequence[str]] = {
        use.name: use.method.teachers_used(opened) if use.teachers is None else use.teachers for use in uses
    }
    for use in uses if opened else ():
        if use.teachers is None:
            able = _having(opened, used[use.name], use.method.teacher_taps)
            for role in (role for role in used[use.name] if role not in able):
                taps_read = ", ".join(use.method.teacher_taps)
                log.warning("the method %s does not use the %s teacher, which lacks %s", use.name, role, taps_read)
            used[use.name] = able
    opened = _with_taps(opened, uses, used)
    for use in uses:
        check_names(use.method)
        for role in (role for role in used[use.name] if role not in opened):
            given = f"; teachers are: {', '.join(opened)}" if opened else ""
            raise UserError(f"the method {use.name} needs a {role} teacher{given}")
        for role in used[use.name] if use.method.needs_errors else ():
            if opened[role].training_errors is None:
                raise UserError(
                    f"the method {use.name} needs the error of the {role} teacher on each training face, (N,): "
                    "LiveTeacher(…).with_errors(errors)"
                )
    for role, teacher in opened.items():
        if tuple(teacher.shape) != tuple(scheme.shape):
            raise UserError(
                f"the {role} teacher {target_words(teacher.shape, 'predicts')}, the student {scheme.noun}: one of them "
                f"is wrong, or {class_to_make(teacher)}(…, point_map=…) selects the student's from the teacher's"
            )
        if not any(role in roles for roles in used.values()):
            log.warning("no method uses the %s teacher", role)
    return opened, used


def target_words(shape: Sequence[int], verb: str = "gives") -> str:
    """What a network predicts, in words.

    >>> target_words((68, 2)), target_words((6, 1))
    ('gives 68 points', 'gives (6, 1)')
    """
    return f"{verb} {shape[0]} points" if shape[1] == 2 else f"gives {tuple(shape)}"


def _having(teachers: Mapping[str, Teacher], roles: Sequence[str], taps: Sequence[str]) -> tuple[str, ...]:
    """The roles of the teachers that have the taps; all of them if none has, for the error that reports it."""

    def has(role: str) -> bool:
        try:
            return role not in teachers or bool(teachers[role].with_taps(taps))
        except UserError:
            return False

    return tuple(role for role in roles if has(role)) or tuple(roles)


def _with_taps(
    teachers: Mapping[str, Teacher], uses: Sequence[MethodUse], used: Mapping[str, Sequence[str]]
) -> dict[str, Teacher]:
    """The teachers, each returning the taps of all methods that use it."""
    wanted: dict[str, list[str]] = {role: ["landmarks"] for role in teachers}
    for use in uses:
        for role in used[use.name]:
            wanted.get(role, []).extend(use.method.teacher_taps)
    found = {}
    for role, teacher in teachers.items():
        try:
            found[role] = teacher.with_taps(wanted[role])
        except UserError as error:
            raise UserError(f"the {role} teacher: {error}") from None
    return found
