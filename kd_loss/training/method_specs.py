"""From `--method`, `--method-arg` and `--plugin` to methods, each with its weight and its teachers."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kd_loss.distillation import METHODS, MethodUse, get_method
from kd_loss.distillation.plugins import OF_YOUR_OWN, load_plugins
from kd_loss.system.errors import UserError, choose
from kd_loss.training.options import StudentOptions

#: characters of a method with its settings, or of a stage
LONGEST = 10_000


class MethodSpec(NamedTuple):
    """A method as an option names it: name, settings, teachers after the @ (none: its default choice), weight."""

    name: str
    settings: tuple[str, ...]
    teachers: tuple[str, ...]
    weight: float


def weighted(text: str, what: str) -> tuple[str, float]:
    """`name:0.5` -> (name, 0.5); the weight defaults to 1."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        value = float(weight)
    except ValueError:
        return text, 1.0  # the colon belongs to a path, or to file.py:function
    if not 0 < value < float("inf"):
        raise UserError(f"{what} {text}: the weight is not positive")
    return name, value


def read_method(text: str, what: str = "--method") -> MethodSpec:
    """`srrl(alpha=0,beta=2)@tough,tolerant:0.1` -> name, ("alpha=0", "beta=2"), ("tough", "tolerant"), 0.1."""
    check_length(text, what)
    head, opened, rest = text.partition("(")
    inner, closed, tail = rest.rpartition(")")
    named, weight = weighted(head + tail, what)
    name, at, roles = named.partition("@")
    teachers = tuple(role for role in roles.split(",") if role)
    if at and not teachers:
        raise UserError(f"{what} {text}: no teacher is named after the @, e.g. srrl@tough:0.1")
    pairs = [tuple(part.strip() for part in setting.partition("=")) for setting in split_outside(inner, ",")]
    if (opened and not (closed and all(key and sign for key, sign, _ in pairs))) or ")" in head + tail:
        raise UserError(f"{what} {text}: settings follow the name, e.g. 'srrl(alpha=0,beta=2)@tough:0.1'")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise UserError(f"{what} {text}: a setting is given twice")
    settings = tuple(f"{key}={value}" for key, _, value in pairs)
    return MethodSpec(name.strip(), settings if opened else (), teachers, weight)


def check_length(text: str, what: str) -> None:
    """Raises a `UserError` for a text that no method needs."""
    if len(text) > LONGEST:
        raise UserError(f"{what} {text[:40]}… has {len(text):,} characters; {LONGEST:,} at the most")


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a character, but not inside brackets.

    >>> split_outside("a(x=[1,2],y=1)/b", "/"), split_outside("x=[1,2],y=1", ",")
    (['a(x=[1,2],y=1)', 'b'], ['x=[1,2]', 'y=1'])
    """
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def split_methods(text: str) -> list[str]:
    """Parse `"kd_loss+srrl(beta=1e+1):0.1"` into its methods."""
    return split_outside(text, "+")


def name_of(methods: Sequence[str]) -> str:
    """The default name of a run with these methods."""
    return "+".join(read_method(text).name for text in methods)


def parse_methods(methods: Sequence[str], settings: Iterable[str]) -> list[MethodUse]:
    """Parse `["kd_loss", "srrl@tough:0.1"]` and `["srrl.beta=0.5"]` into methods with weights and teachers."""
    weights: dict[str, float] = {}
    named: dict[str, tuple[str, ...]] = {}
    own: list[str] = []
    for text in methods:
        spec = read_method(text)
        name = choose(spec.name, METHODS, "method", OF_YOUR_OWN)
        if name in weights:
            raise UserError(f"--method {name} is given twice")
        weights[name], named[name] = spec.weight, spec.teachers
        own += [f"{name}.{setting}" for setting in spec.settings]
    parameters: dict[str, dict[str, Any]] = {name: {} for name in weights}
    for text in [*settings, *own]:  # a method's own settings win
        check_length(text, "--method-arg")
        key, equals, value = text.partition("=")
        owner, dot, parameter = key.partition(".")
        if not equals or not dot or owner not in weights:
            raise UserError(
                f"--method-arg {text} is not of the form method.parameter=value, method one of {', '.join(weights)}"
            )
        try:
            parameters[owner][parameter] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            parameters[owner][parameter] = value
    made = []
    for name, weight in weights.items():
        method = get_method(name, parameters[name])
        if named[name] and not method.any_teachers:
            uses = ", ".join(method.teacher_roles) or "none"
            raise UserError(f"--method {name}@{','.join(named[name])}: it uses its own teachers ({uses})")
        made.append(MethodUse(method, weight, named[name] or None))
    return made


def with_teachers(methods: Iterable[MethodUse], names: Iterable[str]) -> list[MethodUse]:
    """Each method with the roles of its teachers, if `--teacher` names them.

    In a combination too, a method that takes any teacher takes only those of `--teacher`, not its neighbours'.
    """
    names = tuple(names)
    return [
        use if use.teachers is not None else use._replace(teachers=use.method.teachers_used(names)) for use in methods
    ]


_STAGE = re.compile(r"(?P<methods>.+)=(?P<epochs>0*[1-9]\d*)(@(?P<freeze>\w*))?")
#: options for calling teachers, which have no effect without one
_TEACHER_OPTIONS = ("unlabelled", "teacher_mode", "teacher_views", "teacher_mirror", "map_points")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Methods, epochs, and the tap up to which the network is frozen; empty: none."""

    methods: list[str]
    epochs: int
    freeze: str


def read_stage(text: str, what: str = "--stages") -> Stage:
    """Parse `aht(alpha=0)+pkt:0.1=20@P5` into its parts."""
    check_length(text, what)
    found = _STAGE.fullmatch(text.strip())
    if not found:
        raise UserError(f"{what} {text} is not of the form methods=epochs[@tap], e.g. aht=20 or aht+pkt:0.1=20@P5")
    return Stage(split_methods(found["methods"]), int(found["epochs"]), found["freeze"] or "")


def split_stages(text: str) -> list[str]:
    """The stages of `aht(alpha=0)=20/ail=20@P5`; empty for single-stage training."""
    stages = split_outside(text, "/")
    return stages if len(stages) > 1 or len(split_outside(text, "=")) > 1 else []


def settings_of(settings: Iterable[str], methods: Iterable[str]) -> list[str]:
    """The `--method-arg` settings of these methods."""
    names = {read_method(method).name for method in methods}
    return [setting for setting in settings if setting.partition(".")[0] in names]


def roles_used(methods: Sequence[str], settings: Iterable[str], teachers: Iterable[str]) -> set[str]:
    """The roles of the teachers that the methods use, if `--teacher` names them."""
    given = [text.partition("=")[0] for text in teachers]
    made = with_teachers(parse_methods(methods, settings_of(settings, methods)), given)
    return {role for use in made for role in use.teachers or ()}


def narrowed(options: StudentOptions, used: Iterable[str]) -> StudentOptions:
    """The options without unused teachers, and without the call settings if there is no teacher at all."""
    used = set(used)
    tough = "tough" in used or options.init == "teacher"
    changes = {
        "teacher": [text for text in options.teacher if text.partition("=")[0] in used],
        "tough": options.tough if tough else "",
        "tolerant": options.tolerant if "tolerant" in used else "",
    }
    if not used:
        defaults = StudentOptions()
        changes |= {name: getattr(defaults, name) for name in _TEACHER_OPTIONS}
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def parse_stages(options: StudentOptions) -> list[StudentOptions]:
    """One options object per stage, each with the settings and teachers of its own methods."""
    if options.stages and options.freeze:
        raise UserError(
            f"--freeze {options.freeze}: with --stages each stage has its own, e.g. ail=20@{options.freeze}"
        )
    load_plugins(options.plugin if options.stages else ())
    stages: list[StudentOptions] = []
    used: set[str] = set()
    named: set[str] = set()
    for text in options.stages:
        stage = read_stage(text)
        named |= {read_method(method, "--stages").name for method in stage.methods}
        own_teachers = roles_used(stage.methods, options.method_arg, options.teacher)
        used |= own_teachers
        own = dataclasses.replace(
            options,
            stages=[],
            method=stage.methods,
            epochs=stage.epochs,
            freeze=stage.freeze,
            method_arg=settings_of(options.method_arg, stage.methods),
            init="" if stages else options.init,  # later stages start from the previous one
        )
        stages.append(narrowed(own, own_teachers))
    words = " ".join(options.stages)
    for setting in options.method_arg:
        if stages and setting.partition(".")[0] not in named:
            raise UserError(f"--method-arg {setting}: no such method in --stages {words}")
    roles = [text.partition("=")[0] for text in options.teacher]
    roles += [role for role in ("tough", "tolerant") if getattr(options, role)]
    used |= {"tough"} if options.init == "teacher" else set()
    for role in roles if stages else ():
        if role not in used:
            raise UserError(f"no method uses the {role} teacher in --stages {words}; remove it")
    return stages


def stage_name(name: str, number: int, count: int) -> str:
    """The run name of a stage: the last stage has the name of the whole; empty, to be chosen, if that has none."""
    return name if number == count or not name else f"{name}-stage{number}"


def named_stages(options: StudentOptions) -> list[StudentOptions]:
    """The trainings of a named run, each with its own name and the weights that it starts from."""
    stages, init = [], options.init
    for number, stage in enumerate(parse_stages(options), 1):
        name = stage_name(options.name, number, len(options.stages))
        stages.append(dataclasses.replace(stage, name=name, init=init))
        init = str(options.runs / options.dataset / name / "last.h5")
    return stages or [options]
