"""Options as frozen dataclasses: names, defaults, types and help in one place.

A command's options are a frozen dataclass derived from `Options`, which validates itself. `parse(cls, argv)` builds
the command line from the fields, reads defaults from `--config FILE` (JSON or TOML), and returns an instance.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from kd_loss.system.deprecation import warn_renamed
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import read_table

T = TypeVar("T")

#: upper bounds from here on only prevent overflow, so help does not mention them
_GUARD = 10_000
#: integers must be smaller: the 64-bit limit of NumPy and the system
LARGEST = 2**63
#: keys of a run's `config.json` that are not options, and options that a file may not set
_OF_A_RUN, _NOT_OF_A_FILE = ("role", "decided_by"), ("config", "resume")


def option(
    default: Any, help: str, *, positional: bool = False, flag: str = "", also: str = "", choices: Sequence[str] = (),
    within: tuple[float, float] | None = None, above: float | None = None, below: float | None = None,
    group: str = "", last: bool = False, more: bool = False,
) -> Any:  # fmt: skip
    """A field of an options class.

    Args:
        default: default value; its type must be that of the field.
        help: one line for `--help` and the reference.
        positional: whether it is given by position rather than by a flag.
        flag: its name on the command line, where that differs.
        also: its old name on the command line, e.g. `--room`, still accepted there, as a keyword and as a key of a
            file, with a `RenamedWarning`.
        choices: the allowed strings, besides an empty default; for a list, those of each entry.
        within: the smallest and largest allowed number; the largest may be infinite.
        above: exclusive lower bound.
        below: exclusive upper bound.
        group: heading in `--help` for this option and those after it.
        last: whether it comes after all others, under no heading.
        more: whether plug-ins may add choices, which the command checks.
    """
    metadata = {
        **{"help": help, "positional": positional, "flag": flag, "also": also},
        **{"choices": tuple(choices), "within": within, "above": above, "below": below, "group": group},
        "last": last,
        "more": more,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def fields_of(cls: type) -> list[dataclasses.Field[Any]]:
    """The fields of an options class in the order in which they are listed."""
    return sorted(dataclasses.fields(cls), key=lambda field: bool(field.metadata.get("last")))


def _flag(field: dataclasses.Field[Any]) -> str:
    """An option's name on the command line."""
    return field.metadata["flag"] or "--" + field.name.replace("_", "-")


def flags_of(cls: type) -> dict[str, str]:
    """Option on the command line, such as `--batch-size`, -> field, without positional ones."""
    return {_flag(field): field.name for field in fields_of(cls) if not field.metadata["positional"]}


def old_names(cls: type) -> dict[str, str]:
    """Old name of a field -> the field's name."""
    fields = [field for field in dataclasses.fields(cls) if field.metadata.get("also")]
    return {field.metadata["also"].lstrip("-").replace("-", "_"): field.name for field in fields}


class _TakesOldNames(type):
    if not TYPE_CHECKING:  # editors read the signature of the dataclass

        def __call__(cls, *arguments: Any, **values: Any) -> Any:
            if arguments:
                raise UserError(f"{cls.__name__} takes its options by name, e.g. {fields_of(cls)[0].name}=…")
            for old, new in old_names(cls).items():
                if old in values:  # even with the new name: `dataclasses.replace` adds all fields not given
                    warn_renamed(f"{cls.__name__}({old}=…)", f"{new}=…")
                    values[new] = values.pop(old)
            names = [field.name for field in dataclasses.fields(cls)]
            for name in values:
                if name not in names:
                    raise UserError(f"{cls.__name__} has no option '{name}'{_nearest(name, names)}")
            return super().__call__(**values)

        @property
        def __signature__(cls) -> inspect.Signature:
            whole = inspect.signature(cls.__init__)
            return whole.replace(parameters=list(whole.parameters.values())[1:])


@dataclasses.dataclass(frozen=True)
class Options(metaclass=_TakesOldNames):
    """Base class of the options of all commands.

    The constructor validates and converts: values have the field's type (strings are accepted as paths, tuples as
    lists, NumPy numbers as Python's), strings with choices are spelled as declared (`Heatmap` becomes `heatmap`),
    numbers lie in their ranges. Old field names work as keywords and attributes, with a `RenamedWarning`.

    Raises:
        UserError: an unknown option, a value of the wrong type, a string that is not one of the option's choices
            (the message suggests the nearest), or a number out of range.
    """

    config: str = option("", "JSON or TOML file with options; those of the command line win", last=True)

    def __post_init__(self) -> None:
        for name, value in _declared_values(self).items():
            object.__setattr__(self, name, value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            new = old_names(type(self)).get(name)
            if new is None:
                raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
            warn_renamed(f"{type(self).__name__}.{name}", new)
            return getattr(self, new)

    def check(self) -> None:
        """Raises a `UserError` for whatever can be rejected before the slow imports."""


@dataclasses.dataclass(frozen=True)
class DatasetOptions(Options):
    """Options of commands that read a prepared dataset."""

    dataset: str = option("w300", "prepared dataset: w300, cofw, wflw, synthetic or your own")
    data: Path = option(Path("data"), "folder of the prepared datasets")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a `UserError`: one line, with the nearest option.

    Attributes:
        renamed: old name of an option -> its name.
    """

    def __init__(self, *arguments: Any, **words: Any):
        super().__init__(*arguments, **words)
        self.renamed: dict[str, str] = {}

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like that of `ArgumentParser`, but also accepts options by their old names."""
        words, warned = list(sys.argv[1:] if args is None else args), set()
        end = words.index("--") if "--" in words else len(words)
        for index, word in enumerate(words[:end]):
            name, equals, value = word.partition("=")
            if name in self.renamed:
                if name not in warned:
                    warn_renamed(name, self.renamed[name])
                    warned.add(name)
                words[index] = self.renamed[name] + equals + value
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the `UserError`, where argparse would exit."""
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            word = message.removeprefix(prefix).split()[0]
            near = difflib.get_close_matches(word, list(self._option_string_actions), n=1, cutoff=0.7)
            message = f"unknown option {word}" + (f": did you mean {near[0]}?" if near else "")
        raise UserError(f"{message} (see {self.prog} --help)")


def _base_type(annotation: Any) -> tuple[type, bool]:
    """The scalar type of an annotation and whether it is a list: `int | None` -> int, False."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0], True
    return annotation, False


def add_options(parser: Parser, cls: type) -> None:
    """Add one option per field of a dataclass, under the fields' headings."""
    hints = typing.get_type_hints(cls)
    groups: dict[str, argparse._ArgumentGroup] = {}
    place: argparse.ArgumentParser | argparse._ArgumentGroup = parser
    for field in fields_of(cls):
        if field.metadata["last"]:
            place = parser
        elif title := field.metadata["group"]:
            place = groups[title] = groups.get(title) or parser.add_argument_group(title)
        kind, many = _base_type(hints[field.name])
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        value = " ".join(map(str, default)) if isinstance(default, list) else default
        notes = [_range_of(field.metadata, guards=False)] + (
            [] if default in (None, "", [], False) else [f"default {value}"]
        )
        shown = f" ({'; '.join(filter(None, notes))})" if any(notes) else ""
        text = (field.metadata["help"] + shown).replace("%", "%%")
        if field.metadata["positional"]:
            nargs: dict[str, Any] = {"nargs": "*"} if many else {"nargs": "?", "default": argparse.SUPPRESS}
            parser.add_argument(field.name, type=kind, help=text, **nargs)
            continue
        flag, also = _flag(field), field.metadata["also"]
        if also:
            parser.renamed[also] = flag
            if kind is bool and default:
                parser.renamed["--no-" + also.lstrip("-")] = "--no-" + flag.lstrip("-")
        options: dict[str, Any] = {"dest": field.name, "help": text, "default": argparse.SUPPRESS}
        if kind is bool:
            place.add_argument(flag, action=argparse.BooleanOptionalAction if default else "store_true", **options)
        else:
            choices = field.metadata["choices"]
            metavar = "{" + ",".join(choices) + "}" if choices else flag.lstrip("-").upper().replace("-", "_")
            if many:  # given once with several values, or several times
                options |= {"nargs": "+", "action": "extend"}
            place.add_argument(flag, type=kind, metavar=metavar, **options)
    if groups:  # a usage line of sixty options is of no help
        positional = [field.name for field in dataclasses.fields(cls) if field.metadata["positional"]]
        parser.usage = " ".join(["%(prog)s", "[options]", *(f"[{name} …]" for name in positional)])


def _range_of(metadata: Mapping[str, Any], guards: bool = True) -> str:
    """The range of an option in words; empty if unlimited.

    `guards`: include upper bounds of `_GUARD` or more.
    """
    low, high = metadata["within"] or (-math.inf, math.inf)
    above, below = metadata["above"], metadata["below"]
    if not guards:
        high = math.inf if high >= _GUARD else high
        below = None if below is not None and below >= _GUARD else below
    if below is not None and below <= high:  # `0 or more, below 1`, not `0…1, below 1`
        high = math.inf
    words = []
    if low > -math.inf:
        words.append(f"{_number(low)} or more" if high == math.inf else f"{_number(low)}…{_number(high)}")
    words += [f"{side} {_number(end)}" for side, end in (("above", above), ("below", below)) if end is not None]
    return ", ".join(words)


def _number(value: float) -> str:
    """A bound in readable form: 4,294,967,295, not 4.29497e+09."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _declared_values(options: Options) -> dict[str, Any]:
    """The values of all fields, converted to their declared types; raises a `UserError` for invalid ones."""
    changed: dict[str, Any] = {}
    hints = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        where = f"{type(options).__name__}: {field.name}"
        value = _fitted(_plain(getattr(options, field.name)), hints[field.name], where)
        changed[field.name], choices = value, field.metadata["choices"]
        words = field.name.replace("_", " ")
        if choices and isinstance(value, list):
            changed[field.name] = list(dict.fromkeys(choose(each, choices, words) for each in value))
        elif choices and value:
            known = [value, *choices] if field.metadata["more"] else choices
            changed[field.name] = choose(value, known, words)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_number(number, field)
    return changed


def _check_number(value: float, field: dataclasses.Field[Any]) -> None:
    metadata = field.metadata
    flag = _flag(field)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise UserError(f"{flag}: a whole number of {len(str(abs(value)))} digits is out of range")
    low, high = metadata["within"] or (-math.inf, math.inf)
    above, below = (metadata[side] for side in ("above", "below"))
    out = not low <= value <= high or (above is not None and value <= above) or (below is not None and value >= below)
    if out or not math.isfinite(value):
        raise UserError(f"{flag} {value:g} is out of range: {_range_of(field.metadata) or 'a finite number'}")


def read_config(path: Path, cls: type) -> dict[str, Any]:
    """Read values of an options class from a JSON or TOML file; rejects unknown keys and wrong types."""
    values = read_table(path, "configuration")
    hints, renamed = typing.get_type_hints(cls), old_names(cls)
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in renamed:
            warn_renamed(f"the configuration {path}: '{key}'", f"'{renamed[name]}'")
            name = renamed[name]
        if name in _NOT_OF_A_FILE or (name in _OF_A_RUN and name not in hints):
            continue
        if name not in hints:
            raise UserError(f"the configuration {path} has an unknown option '{key}'{_nearest(name, hints)}")
        result[name] = _fitted(value, hints[name], f"the configuration {path}: {key}")
    return result


def from_keywords(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """An instance from a function's keywords, which override those of `config`, if any.

    Paths may be strings or `os.PathLike`, lists any sequence, numbers NumPy's. Raises a `UserError` for an unknown
    option (it suggests the nearest) and for a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    flags = {field.metadata["flag"].lstrip("-").replace("-", "_"): field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    renamed = old_names(cls)
    for key, value in values.items():
        if key in renamed:
            warn_renamed(f"{what}({key}=…)", f"{renamed[key]}=…", stacklevel=5)
        key = renamed.get(key) or flags.get(key, key)
        if key in given:
            raise UserError(f"{what}: {key} is given under two names")
        if key not in hints:
            raise UserError(f"{what} has no option '{key}'{_nearest(key, hints)}")
        given[key] = _fitted(_plain(value), hints[key], f"{what}: {key}")
    return build(cls, given)


def _nearest(name: str, names: Iterable[str]) -> str:
    """The suggestion that ends the message about an unknown option: the nearest known one."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f": did you mean '{near[0]}'?" if near else ""


def _plain(value: Any) -> Any:
    """Converts paths to strings, NumPy numbers to Python's, sequences to lists of these; other values unchanged."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


def _fitted(value: Any, annotation: Any, where: str) -> Any:
    """A value converted to its field's type; raises a `UserError` that begins with `where` if it does not fit."""
    kind, many = _base_type(annotation)
    try:
        if value is None and type(None) in typing.get_args(annotation):
            return None
        if many:
            return [_convert(v, kind) for v in (value if isinstance(value, list) else [value])]
        return _convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)
        shown = shown if len(shown) <= 80 and "\n" not in shown else type(value).__name__
        raise UserError(f"{where} = {shown} is not {_KIND_NAMES.get(kind, kind.__name__)}") from None


def _convert(value: Any, kind: type) -> Any:
    """A JSON or TOML value as `kind`; rejects numbers for strings and fractions for integers."""
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, int | float) and not isinstance(value, bool),
    }.get(kind, isinstance(value, str))
    if not fits or (isinstance(value, str) and "\0" in value):  # not allowed in file names
        raise TypeError(value)
    return kind(value)


def build(cls: type[T], given: dict[str, Any]) -> T:
    """An instance from the values of a command line, which override those of its `--config` file, if any."""
    config = given.get("config")
    values = read_config(Path(config), cls) if config else {}
    # argparse always sets a positional list, empty if none was given
    return cls(**{**values, **{k: v for k, v in given.items() if v != [] or k not in values}})


def parse(cls: type[T], argv: Sequence[str] | None, *, prog: str | None = None) -> T:
    """Parse a command line for one options class."""
    text = (cls.__doc__ or "").strip()
    parser = Parser(prog=prog, description=text, allow_abbrev=False)
    add_options(parser, cls)
    return build(cls, vars(parser.parse_args(argv)))


def to_plain(options: Any) -> dict[str, Any]:
    """The resolved values of an options instance, for JSON."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        plain[field.name] = str(value) if isinstance(value, Path) else value
    return plain
