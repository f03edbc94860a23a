"""The contract of a distillation method, and the registry that makes adding one a matter of one file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import keras
from keras import ops

from kd_loss.system.errors import UserError, choose

Tensor = Any
Taps = Mapping[str, Tensor]


class DistillationMethod(keras.layers.Layer):
    """What a student is to be told, given the truth and what the teachers say.

    A subclass names the teachers and taps that it needs, and returns its terms; `call` adds them up
    with their weights. It is a float32 layer, also under mixed precision, and may own trainable
    connectors, which compute in float32 too. Its constructor takes its parameters as keywords, numbers, names,
    booleans or lists, with or without defaults, and calls `super().__init__(**kwargs)`. `get_config` is for those who
    save the layer with Keras; trainings keep the parameters in their options. What it returns is checked on two faces
    before a training begins (`distillation.check`).

    Attributes:
        name_on_command_line: set by `register`.
        teacher_roles: the teachers it uses.
        any_teachers: whether it uses every teacher that is given instead, whatever its role; `teacher_roles` are then
            those that it takes where none is given.
        needs_errors: whether it reads its teachers' `training_errors`.
        relational: whether the value of a sample depends on the others of its batch. Where annotated, unlabelled and
            mixed faces share a batch, such a method is asked about the annotated ones and about the unlabelled ones
            separately, and not about mixtures.
        student_taps, teacher_taps: the taps it reads (see `networks.LandmarkNet`).
        term_names: the keys of what `terms` returns, in the order in which they are logged.
    """

    name_on_command_line: ClassVar[str] = ""
    teacher_roles: ClassVar[tuple[str, ...]] = ()
    any_teachers: ClassVar[bool] = False
    needs_errors: ClassVar[bool] = False
    relational: ClassVar[bool] = False
    student_taps: ClassVar[tuple[str, ...]] = ("landmarks",)
    teacher_taps: ClassVar[tuple[str, ...]] = ("landmarks",)
    term_names: tuple[str, ...] = ("main",)

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.built = True

    def teachers_used(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Which teachers it uses where those of these roles are given."""
        roles = tuple(roles)
        return roles if self.any_teachers and roles else self.teacher_roles

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Called once before training with the networks: check them, make and build connectors.

        Call `super().attach` in a subclass of `TeacherMean`: it remembers the teachers' weights. A connector has to
        be built here (`connector.build((None, None, None, student.channels("P4")))`): a step is compiled as a whole.

        Args:
            student: `networks.LandmarkNet` or `networks.TappedModel`: `channels(tap)`, `head_weights()`,
                `tap_model(taps)`, `target_shape`.
            teachers: role -> teacher, those that it uses: `channels(tap)`, `tap_shape(tap)` (without the batch),
                `head_weights()`, `weight`, `training_errors`; of taps in `teacher_taps` alone.
        """

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """Term name -> its weight in the objective; a term that is not named weighs 1.

        A property where a weight is a parameter; else a dictionary of the class will do.
        """
        return {}

    @property
    def distilling_terms(self) -> tuple[str, ...]:
        """The terms that count on a face without landmarks, where the teachers' prediction is the truth.

        All but `main`; `main` too where there is no other.
        """
        return tuple(name for name in self.term_names if name != "main") or self.term_names

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """Term name -> (B,), unweighted.

        Args:
            y_true: (B, N, C) the targets: (B, K, 2) normalised landmarks, or (B, 2, 3) of a pose, standardised.
            student: tap name -> tensor; teachers: role -> tap name -> tensor, without gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define terms()")

    def call(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> Tensor:
        """The weighted sum of the terms, (B,)."""
        weights = self.weights_of_terms
        values = self.terms(y_true, student, teachers)
        return sum(weights.get(name, 1.0) * value for name, value in values.items())


class MethodUse(NamedTuple):
    """A method in an objective: with its weight, and the teachers that it is restricted to (None: its own choice)."""

    method: DistillationMethod
    weight: float = 1.0
    teachers: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The method's name on the command line."""
        return self.method.name_on_command_line


def uses_of(methods: Any) -> list[MethodUse]:
    """`{method: weight}`, or a list of methods, pairs `(method, weight)` and `MethodUse`, as a list of these.

    Raises:
        UserError: something else is among them, a weight is no positive number, or a method stands there twice.
    """
    items = list(methods.items()) if isinstance(methods, Mapping) else list(methods)
    uses: list[MethodUse] = []
    for item in items:
        parts = (item,) if isinstance(item, DistillationMethod) else tuple(item) if isinstance(item, tuple) else ()
        use = MethodUse(*parts[:3]) if parts else None
        if use is None or not isinstance(use.method, DistillationMethod):
            raise UserError(f"methods are DistillationMethod or (method, weight), not {item!r}; see kd_loss.methods")
        if not isinstance(use.weight, int | float) or not 0 < use.weight < math.inf:
            raise UserError(f"the method {use.name} has the weight {use.weight!r}; a positive number is wanted")
        if use.name in (other.name for other in uses):
            raise UserError(f"the method {use.name} is given twice")
        uses.append(use)
    if not uses:
        raise UserError("no method is given; kd_loss.methods.NoDistillation() trains on the truth alone")
    return uses


class TeacherMean(DistillationMethod):
    """A method written for one teacher, which takes the weighted mean over any number of them.

    A mean, not a sum: a second teacher of the same opinion changes nothing.
    """

    teacher_roles = ("tough",)
    any_teachers = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.shares: dict[str, float] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Remember the teachers' weights."""
        self.shares = {role: teacher.weight for role, teacher in teachers.items()}

    def over_teachers(self, teachers: Mapping[str, Taps], value: Callable[[str, Taps], Tensor]) -> Tensor:
        """Σ weight · value(role, taps) / Σ weight over the teachers, (B,) or whatever `value` gives."""
        whole = sum(self.shares.get(role, 1.0) for role in teachers)
        return sum(self.shares.get(role, 1.0) / whole * value(role, taps) for role, taps in teachers.items())


METHODS: dict[str, type[DistillationMethod]] = {}
_T = TypeVar("_T", bound=type[DistillationMethod])


def register(name: str) -> Callable[[_T], _T]:
    """Class decorator: make a method known under `name`; a `UserError` where another has it already."""

    def add(cls: _T) -> _T:
        known = METHODS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise UserError(f"{cls.__name__} cannot be registered as the method '{name}': {known.__name__} is")
        cls.name_on_command_line = name
        METHODS[name] = keras.saving.register_keras_serializable("kd_loss", name)(cls)
        return cls

    return add


#: type of a parameter -> what a value of it is called, and the types that do
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("whole number", (int,)),
    float: ("finite number", (int, float)),
    str: ("name", (str,)),
    list: ("list", (list, tuple)),
    tuple: ("list", (list, tuple)),
}


def parameters_of(cls: type[DistillationMethod]) -> dict[str, tuple[type, Any]]:
    """Parameter -> its type and its default (`inspect.Parameter.empty` for none), from the constructor."""
    found = {}
    annotations = {kind.__name__: kind for kind in KINDS}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        text = str(getattr(parameter.annotation, "__name__", parameter.annotation)).partition("[")[0]
        kind = annotations.get(text) or type(parameter.default)
        found[name] = (kind if kind in KINDS else str, parameter.default)
    return found


def get_method(name: str, parameters: Mapping[str, Any] | None = None) -> DistillationMethod:
    """Make a registered method; `UserError` with the valid choices for an unknown name or parameter."""
    name = choose(name, METHODS, "method")
    cls = METHODS[name]
    valid = parameters_of(cls)
    given = {}
    for key, value in (parameters or {}).items():
        key = choose(key, valid, f"parameter of {name}")
        words, types = KINDS[valid[key][0]]
        fits = isinstance(value, types) and (valid[key][0] is bool or not isinstance(value, bool))
        if not fits or (isinstance(value, float) and not math.isfinite(value)):
            raise UserError(f"{name}.{key} = {value!r} is no {words}")
        given[key] = value
    for key, (_, default) in valid.items():
        if default is inspect.Parameter.empty and key not in given:
            raise UserError(f"the method {name} wants its parameter: --set {name}.{key}=…")
    made = cls(**given)
    if not vars(made).get("built"):
        raise UserError(f"the method {name} does not call super().__init__(**kwargs) in its constructor")
    return made


def per_sample(values: Tensor) -> Tensor:
    """The mean over everything but the first axis, (B, …) -> (B,), in float32."""
    values = ops.cast(values, "float32")
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def check_positive(name: str, **values: float) -> None:
    """Raise a `UserError` for a negative parameter."""
    for key, value in values.items():
        if value < 0:
            raise UserError(f"{name}.{key} = {value} is negative")


def relative_distance(mine: Tensor, theirs: Tensor) -> Tensor:
    """Squared distance of features (B, …) in units of the teacher's own mean square on that face, (B,).

    Without the unit a term is as large as a teacher's features happen to be, an order of magnitude above the error of
    landmarks; with it, a connector that answers 0 has 1, and one of random weights begins between 1 and 2.
    """
    theirs = ops.cast(theirs, "float32")
    return per_sample(ops.square(theirs - mine)) / (per_sample(ops.square(theirs)) + 1e-3)


def where_annotated(error: Tensor) -> Tensor:
    """From the student's errors (B, K, 2) 1 for the points that are annotated, 0 for others, (B, K).

    Where nothing is annotated, the student's own answer stands in the truth's place (`Distiller`).
    """
    return ops.cast(ops.any(error > 1e-7, axis=-1), "float32")


def match_size(features: Tensor, like: Tensor) -> Tensor:
    """Feature maps (B, h, w, C) averaged or interpolated to the height and width of others."""
    size = (like.shape[1], like.shape[2])
    return features if tuple(features.shape[1:3]) == size else ops.image.resize(features, size, antialias=True)
