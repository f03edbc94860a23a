"""The contract of a distillation method, and the registry that makes adding one a matter of one file."""

from __future__ import annotations

import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import keras
from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.system.arguments import list_of, shown, table_of
from kd_loss.system.deprecation import current_keyword, renamed_of
from kd_loss.system.errors import UserError, choose

#: a tensor of whichever backend Keras has: there is no common type
Tensor = Any
Taps = Mapping[str, Tensor]


class DistillationMethod(keras.layers.Layer):
    """The loss of a student, given the truth and the teachers' predictions.

    A subclass declares the teachers and taps that it needs, and returns its terms; `call` computes their
    weighted sum. It is a float32 layer, also under mixed precision, and may own trainable
    connectors, which compute in float32 too. Its constructor takes its parameters as keywords (numbers, names,
    booleans or lists, with or without defaults), calls `super().__init__(**kwargs)` and stores each parameter in an
    attribute of the same name, from which `get_config` builds the config for `keras.saving`. Its output is checked
    on two faces before a training begins (`distillation.check`).

    Attributes:
        name_on_command_line: set by `register`.
        teacher_roles: the teachers it uses.
        any_teachers: whether it uses every given teacher instead, whatever its role; `teacher_roles` are then
            the defaults if none is given.
        needs_errors: whether it reads its teachers' `training_errors`.
        relational: whether the value of a sample depends on the others of its batch. If annotated, unlabelled and
            mixed faces share a batch, such a method is called on the annotated ones and on the unlabelled ones
            separately, and not on mixtures.
        student_taps, teacher_taps: the taps it reads (see `networks.LandmarkNet`).
        term_names: the keys of the result of `terms`, in the order in which they are logged.
    """

    name_on_command_line: ClassVar[str] = ""
    teacher_roles: ClassVar[tuple[str, ...]] = ()
    any_teachers: ClassVar[bool] = False
    needs_errors: ClassVar[bool] = False
    relational: ClassVar[bool] = False
    student_taps: ClassVar[tuple[str, ...]] = ("landmarks",)
    teacher_taps: ClassVar[tuple[str, ...]] = ("landmarks",)
    term_names: tuple[str, ...] = ("main",)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Check names and types of the parameters, so that constructors need not."""
        signature = inspect.signature(cls.__init__)
        given = signature.bind_partial(None, *args, **kwargs).arguments
        own = {key: value for key, value in given.items() if key in parameters_of(cls)}
        more = {key: value for key, value in kwargs.items() if key not in signature.parameters}
        check_parameters(cls, {**own, **more})
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.built = True

    def teachers_used(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Return the roles of the teachers that it uses out of the given roles."""
        roles = tuple(roles)
        return roles if self.any_teachers and roles else self.teacher_roles

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Check the networks, make and build connectors; called once before training.

        Subclasses of `TeacherMean` must call `super().attach`: it stores the teachers' weights. A connector must be
        built here (`connector.build((None, None, None, student.channels("P4")))`): a step is compiled as a whole.

        Args:
            student: `networks.LandmarkNet` or `networks.TappedModel`: `channels(tap)`, `head_weights()`,
                `tap_model(taps)`, `target_shape`.
            teachers: role -> teacher, those that it uses: `channels(tap)`, `tap_shape(tap)` (without the batch),
                `head_weights()`, `weight`, `training_errors`; only for taps in `teacher_taps`.
        """

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """Term name -> its weight in the objective; terms not listed have weight 1.

        Define a property if a weight is a parameter; otherwise a class-level dictionary suffices.
        """
        return {}

    @property
    def distilling_terms(self) -> tuple[str, ...]:
        """The terms that count on a face without landmarks, for which the teachers' prediction serves as the truth.

        All except `main`; `main` too if it is the only one.
        """
        return tuple(name for name in self.term_names if name != "main") or self.term_names

    def main_term(self, y_true: Tensor, student: Taps) -> Tensor:
        """Compute `main`, the term on the truth: the mean absolute error of the landmarks, (B,)."""
        return mean_absolute_error(y_true, student["landmarks"])

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """Return term name -> (B,), unweighted.

        Args:
            y_true: (B, N, C) the targets: (B, K, 2) normalised landmarks, or (B, 2, 3) of a pose, standardised.
            student: tap name -> tensor, and `annotated` (B, N) if faces are partly annotated.
            teachers: role -> tap name -> tensor, without gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define terms()")

    def call(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> Tensor:
        """The weighted sum of the terms, (B,)."""
        weights = self.weights_of_terms
        values = self.terms(y_true, student, teachers)
        return sum(weights.get(name, 1.0) * value for name, value in values.items())

    def get_config(self) -> dict[str, Any]:
        """Return the config for `from_config`: Keras's entries and the constructor's parameters."""
        config = super().get_config()
        for name in parameters_of(type(self)):
            if not hasattr(self, name):
                raise UserError(
                    f"the method {_title(type(self))} does not keep its parameter: self.{name} = {name} in the "
                    "constructor, or a get_config of its own"
                )
            value = getattr(self, name)
            config[name] = list(value) if isinstance(value, list | tuple) else value
        return config

    def _not_negative(self, **values: float) -> None:
        """Raise a `UserError` for a parameter below 0."""
        check_positive(_title(type(self)), **values)

    def _positive(self, **values: float) -> None:
        """Raise a `UserError` for a parameter that is not above 0."""
        for key, value in values.items():
            if not value > 0:
                raise UserError(f"{_title(type(self))}.{key} = {value} is not positive")


class MethodUse(NamedTuple):
    """A method in an objective, with its weight and the teachers it is restricted to (None: its own choice)."""

    method: DistillationMethod
    weight: float = 1.0
    teachers: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The method's name on the command line."""
        return self.method.name_on_command_line


def uses_of(methods: Any) -> list[MethodUse]:
    """Convert `{method: weight}`, or a list of methods, pairs `(method, weight)` and `MethodUse`, to `MethodUse`s.

    Raises:
        UserError: an item has another type, a weight is not a positive number, or a method is listed twice.
    """
    items = list(methods.items()) if isinstance(methods, Mapping) else list_of(methods, "methods", "a list of methods")
    uses: list[MethodUse] = []
    for item in items:
        parts = (item,) if isinstance(item, DistillationMethod) else tuple(item) if isinstance(item, tuple) else ()
        use = MethodUse(*parts[:3]) if parts else None
        if use is None or not isinstance(use.method, DistillationMethod):
            raise UserError(
                f"methods are DistillationMethod or (method, weight), not {shown(item)}; see kd_loss.methods"
            )
        if not isinstance(use.weight, int | float) or not 0 < use.weight < math.inf:
            raise UserError(f"the method {use.name} has the weight {shown(use.weight)}; expected a positive number")
        if use.name in (other.name for other in uses):
            raise UserError(f"the method {use.name} is given twice")
        uses.append(use)
    if not uses:
        raise UserError("no method is given; kd_loss.methods.NoDistillation() trains on the truth alone")
    return uses


class TeacherMean(DistillationMethod):
    """A method defined for one teacher and averaged, with weights, over any number of them.

    A mean, not a sum: a second teacher with the same predictions changes nothing. A subclass defines `teacher_terms`,
    or overrides `terms`.

    Attributes:
        single_taps: the taps each of which, read from student and teacher, suffices for a distillation term without
            the truth, so that `as_keras_loss` can pass it to `keras.distillation`; empty if there is none.
    """

    teacher_roles = ("tough",)
    any_teachers = True
    single_taps: tuple[str, ...] = ()

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.shares: dict[str, float] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Store the teachers' weights."""
        self.shares = {role: teacher.weight for role, teacher in teachers.items()}

    def over_teachers(self, teachers: Mapping[str, Taps], value: Callable[[str, Taps], Tensor]) -> Tensor:
        """Compute Σ weight · value(role, taps) / Σ weight over the teachers, (B,) or the shape of `value`."""
        whole = sum(self.shares.get(role, 1.0) for role in teachers)
        return sum(self.shares.get(role, 1.0) / whole * value(role, taps) for role, taps in teachers.items())

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """Return the terms of one teacher, all `term_names` except `main`, (B,) each; `role` selects the connector."""
        raise NotImplementedError(f"{type(self).__name__} has to define teacher_terms() or terms()")

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """Return `main`, if the method has it, and the mean over the teachers of each of `teacher_terms`."""
        values = {role: self.teacher_terms(role, y_true, student, taps) for role, taps in teachers.items()}
        return {
            name: self.main_term(y_true, student)
            if name == "main"
            else self.over_teachers(values, lambda _, terms, name=name: terms[name])  # type: ignore[misc]
            for name in self.term_names
        }


METHODS: dict[str, type[DistillationMethod]] = {}
_T = TypeVar("_T", bound=type[DistillationMethod])


def register(name: str) -> Callable[[_T], _T]:
    """Class decorator: register a method under `name` (letters, digits, _ and -).

    Raises:
        UserError: the name is taken or invalid, or the object is not the class of a method.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d][\w-]*", name):
        raise UserError(
            f"@register({shown(name)}): a method's name is made of letters, digits, _ and -, as 'my_method'"
        )

    def add(cls: _T) -> _T:
        if not isinstance(cls, type) or not issubclass(cls, DistillationMethod):
            what = getattr(cls, "__name__", "") or shown(cls)
            raise UserError(f"@register({name!r}) decorates a subclass of DistillationMethod; {what} is not one")
        known = METHODS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(f"{cls.__name__} cannot be registered as the method '{name}': {known.__name__} is")
        cls.name_on_command_line = name
        METHODS[name] = keras.saving.register_keras_serializable("kd_loss", name)(cls)
        return cls

    return add


#: type of a parameter -> the word for its values in messages, and the accepted types
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("a whole number", (numbers.Integral,)),
    float: ("a finite number", (numbers.Real,)),
    str: ("a name", (str,)),
    **dict.fromkeys((list, tuple), ("a list", (list, tuple))),
}

#: the arguments of a Keras layer besides the parameters of a method
KERAS_PARAMETERS = ("name", "trainable", "dtype")


def parameters_of(cls: type[DistillationMethod]) -> dict[str, tuple[type, Any]]:
    """Return parameter -> type and default (`inspect.Parameter.empty` for none), from the constructor."""
    found = {}
    annotations = {kind.__name__: kind for kind in KINDS}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        text = str(getattr(parameter.annotation, "__name__", parameter.annotation)).partition("[")[0]
        kind = annotations.get(text) or type(parameter.default)
        found[name] = (kind if kind in KINDS else str, parameter.default)
    return found


def _title(cls: type[DistillationMethod]) -> str:
    """Return a method's name for messages: the one on the command line, or the class name if it is not registered."""
    return cls.name_on_command_line or cls.__name__


def check_parameters(cls: type[DistillationMethod], given: Mapping[str, Any]) -> None:
    """Raise a `UserError` for a parameter that the method does not have or a value of the wrong type."""
    valid, name = parameters_of(cls), _title(cls)
    for key, value in ((renamed_of(cls).get(k, k), v) for k, v in given.items() if k not in KERAS_PARAMETERS):
        if key not in valid:
            near = choose(key, valid, f"parameter of {name}")
            raise UserError(f"unknown parameter of {name} '{key}': did you mean '{near}'?")
        words, types = KINDS[valid[key][0]]
        fits = isinstance(value, types) and (valid[key][0] is bool or not isinstance(value, bool))
        if fits and isinstance(value, int) and abs(value) >= 2**63:
            raise UserError(f"{name}.{key}: a whole number of {len(str(abs(value)))} digits is out of range")
        if not fits or (isinstance(value, numbers.Real) and not math.isfinite(value)):
            raise UserError(f"{name}.{key} = {shown(value)} is not {words}")


def get_method(name: str, parameters: Mapping[str, object] | None = None) -> DistillationMethod:
    """Make a registered method; raise `UserError` with the valid choices for an unknown name or parameter."""
    name = choose(name, METHODS, "method")
    cls = METHODS[name]
    valid = parameters_of(cls)
    table = {} if parameters is None else table_of(parameters, "parameters", "a dictionary of parameters")
    given = {choose(current_keyword(cls, k, name), valid, f"parameter of {name}"): v for k, v in table.items()}
    for key in (key for key, (_, default) in valid.items() if default is inspect.Parameter.empty and key not in given):
        raise UserError(f"the method {name} requires its parameter: --method-arg {name}.{key}=…")
    made = cls(**given)
    if not vars(made).get("built"):
        raise UserError(f"the method {name} does not call super().__init__(**kwargs) in its constructor")
    return made


def per_sample(values: Tensor) -> Tensor:
    """Average over all axes except the first, (B, …) -> (B,), in float32."""
    values = ops.cast(values, "float32")
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def flat(*values: Tensor) -> tuple[Tensor, ...]:
    """Flatten targets and predictions, (B, N, C) or (B, N·C), to float32 rows (B, N·C).

    Raises:
        UserError: their sizes differ.
    """
    rows = []
    for value in values:
        value = ops.cast(value, "float32")
        rest = tuple(value.shape[1:])
        size = -1 if None in rest else math.prod(rest)
        rows.append(value if len(rest) == 1 else ops.reshape(value, (ops.shape(value)[0], size)))
    sizes = {row.shape[1] for row in rows} - {None}
    if len(sizes) > 1:
        raise UserError(f"landmarks of unequal size: {' and '.join(map(str, sorted(sizes)))} numbers a face")
    return tuple(rows)


def points_of(values: Tensor) -> Tensor:
    """Reshape landmarks (B, 2K) to (B, K, 2) in float32; tensors with three axes keep their shape."""
    values = ops.cast(values, "float32")
    return ops.reshape(values, (ops.shape(values)[0], -1, 2)) if len(values.shape) == 2 else values


@of_tensors
def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`mean |S − y|` over the coordinates of each face.

    Args:
        y_true: (B, K, 2) or (B, 2K), truth or a teacher's prediction, normalised (in crop sides).
        y_pred: the student's prediction, likewise.

    Returns:
        (B,) float32, at least 0, in crop sides.

    >>> round(float(mean_absolute_error([[0.0, 0.0]], [[0.1, -0.3]])[0]), 4)
    0.2
    """
    y_true, y_pred = flat(y_true, y_pred)
    return per_sample(ops.abs(y_pred - y_true))


@of_tensors
def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`e²(S, y) = mean (S − y)²` over the coordinates of each face.

    Args:
        y_true: (B, K, 2) or (B, 2K), truth or a teacher's prediction, normalised (in crop sides).
        y_pred: the student's prediction, likewise.

    Returns:
        (B,) float32, at least 0, in squared crop sides.

    >>> round(float(mean_squared_error([[0.0, 0.0]], [[0.1, -0.3]])[0]), 4)
    0.05
    """
    y_true, y_pred = flat(y_true, y_pred)
    return per_sample(ops.square(y_pred - y_true))


def check_positive(name: str, **values: float) -> None:
    """Raise a `UserError` for a negative parameter."""
    for key, value in values.items():
        if value < 0:
            raise UserError(f"{name}.{key} = {value} is negative")
