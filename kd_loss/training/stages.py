"""Trainings one after the other: what `--stages` says, and whom each of them listens to."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from kd_loss.system.errors import UserError
from kd_loss.training.methods import load_plugins, parse_methods, read_method, split_methods, split_outside
from kd_loss.training.options import StudentOptions

_STAGE = re.compile(r"(?P<methods>.+)=(?P<epochs>0*[1-9]\d*)(@(?P<freeze>\w*))?")
#: options that say how teachers are asked, and nothing where there is none
_ASKING = ("unlabelled", "teachers", "teacher_views", "teacher_mirror", "map_points")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Methods, epochs, and the tap up to which the network stays as it is; empty: none."""

    methods: list[str]
    epochs: int
    freeze: str


def read_stage(text: str, what: str = "--stages") -> Stage:
    """`aht(alpha=0)+pkt:0.1=20@P5` -> its parts."""
    found = _STAGE.fullmatch(text.strip())
    if not found:
        raise UserError(f"{what} {text} is not of the form methods=epochs[@tap], e.g. aht=20 or aht+pkt:0.1=20@P5")
    return Stage(split_methods(found["methods"]), int(found["epochs"]), found["freeze"] or "")


def split_stages(text: str) -> list[str]:
    """The stages of `aht(alpha=0)=20/ail=20@P5`; none of a method that is trained at once."""
    stages = split_outside(text, "/")
    return stages if len(stages) > 1 or len(split_outside(text, "=")) > 1 else []


def settings_of(settings: Iterable[str], methods: Iterable[str]) -> list[str]:
    """Those of `--set` that are about the methods."""
    names = {read_method(method).name for method in methods}
    return [setting for setting in settings if setting.partition(".")[0] in names]


def heard_by(methods: Sequence[str], settings: Iterable[str], teachers: Iterable[str]) -> set[str]:
    """The roles that methods listen to, where `--teacher` names these teachers."""
    given = [text.partition("=")[0] for text in teachers]
    made = parse_methods(methods, settings_of(settings, methods))
    return {role for method in made for role in method.heard(given)}


def narrowed(options: StudentOptions, heard: Iterable[str]) -> StudentOptions:
    """The options without the teachers that nobody listens to, and without how they are asked where there is none."""
    heard = set(heard)
    tough = "tough" in heard or options.init == "teacher"
    changes = {
        "teacher": [text for text in options.teacher if text.partition("=")[0] in heard],
        "tough": options.tough if tough else "",
        "tolerant": options.tolerant if "tolerant" in heard else "",
    }
    if not heard:
        defaults = StudentOptions()
        changes |= {name: getattr(defaults, name) for name in _ASKING}
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def parse_stages(options: StudentOptions) -> list[StudentOptions]:
    """One options object per stage, each with the settings and the teachers of its own methods."""
    if options.stages and options.freeze:
        raise UserError(f"--freeze {options.freeze}: with --stages each says its own, e.g. ail=20@{options.freeze}")
    load_plugins(options.plugin if options.stages else ())
    stages: list[StudentOptions] = []
    told: set[str] = set()
    named: set[str] = set()
    for text in options.stages:
        stage = read_stage(text)
        named |= {read_method(method, "--stages").name for method in stage.methods}
        heard = heard_by(stage.methods, options.set, options.teacher)
        told |= heard
        own = dataclasses.replace(
            options,
            stages=[],
            method=stage.methods,
            epochs=stage.epochs,
            freeze=stage.freeze,
            set=settings_of(options.set, stage.methods),
            init="" if stages else options.init,  # later ones start from the one before
        )
        stages.append(narrowed(own, heard))
    words = " ".join(options.stages)
    for setting in options.set:
        if stages and setting.partition(".")[0] not in named:
            raise UserError(f"--set {setting}: no such method in --stages {words}")
    roles = [text.partition("=")[0] for text in options.teacher]
    roles += [role for role in ("tough", "tolerant") if getattr(options, role)]
    told |= {"tough"} if options.init == "teacher" else set()
    for role in roles if stages else ():
        if role not in told:
            raise UserError(f"nobody listens to the {role} teacher in --stages {words}; leave it out")
    return stages


def stage_name(name: str, number: int, count: int) -> str:
    """What the run of a stage is called: the last one as the whole; empty, to be chosen, where that has no name."""
    return name if number == count or not name else f"{name}-stage{number}"


def named_stages(options: StudentOptions) -> list[StudentOptions]:
    """The trainings of a run that has a name, each with its own name and the weights that it starts from."""
    stages, init = [], options.init
    for number, stage in enumerate(parse_stages(options), 1):
        name = stage_name(options.name, number, len(options.stages))
        stages.append(dataclasses.replace(stage, name=name, init=init))
        init = str(options.runs / options.dataset / name / "last.h5")
    return stages or [options]
