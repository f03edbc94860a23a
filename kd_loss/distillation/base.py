"""The contract of a distillation method, and the registry that makes adding one a matter of one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import keras
from keras import ops

from kd_loss.errors import UserError, choose

Tensor = Any
Taps = Mapping[str, Tensor]


class DistillationMethod(keras.layers.Layer):
    """What a student is to be told, given the truth and what the teachers say.

    A subclass names the teachers and taps that it needs, and returns its terms; `call` adds them up
    with their weights. It is a float32 layer, also under mixed precision, and may own trainable
    connectors. Its constructor takes its parameters as keywords, all with defaults, and hands them to
    `get_config` so that the method can be saved and made again.

    Attributes:
        name_on_command_line: set by `register`.
        teacher_roles: the teachers it listens to.
        any_teachers: whether it listens to every teacher that it is given instead, whatever its role;
            `teacher_roles` are then those that it takes where none is named.
        needs_errors: whether it asks its teachers for `training_errors`.
        relational: whether the value of a sample depends on the others of its batch.
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

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Called once before training with the networks: check them, build connectors."""

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """Term name -> its weight in the objective; a term that is not named weighs 1."""
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
            y_true: (B, K, 2) normalised landmarks.
            student: tap name -> tensor; teachers: role -> tap name -> tensor, without gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define terms()")

    def call(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> Tensor:
        """The weighted sum of the terms, (B,)."""
        weights = self.weights_of_terms
        values = self.terms(y_true, student, teachers)
        return sum(weights.get(name, 1.0) * value for name, value in values.items())


class TeacherSum(DistillationMethod):
    """A method written for one teacher, which adds up over any number of them by their weights."""

    teacher_roles = ("tough",)
    any_teachers = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.shares: dict[str, float] = {}

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Remember the teachers' weights."""
        self.shares = {role: teacher.weight for role, teacher in teachers.items()}

    def over_teachers(self, teachers: Mapping[str, Taps], value: Callable[[str, Taps], Tensor]) -> Tensor:
        """Σ weight · value(role, taps) over the teachers, (B,)."""
        return sum(self.shares.get(role, 1.0) * value(role, taps) for role, taps in teachers.items())


METHODS: dict[str, type[DistillationMethod]] = {}
_T = TypeVar("_T", bound=type[DistillationMethod])


def register(name: str) -> Callable[[_T], _T]:
    """Class decorator: make a method known under `name`."""

    def add(cls: _T) -> _T:
        cls.name_on_command_line = name
        METHODS[name] = keras.saving.register_keras_serializable("kd_loss", name)(cls)
        return cls

    return add


def get_method(name: str, parameters: Mapping[str, Any] | None = None) -> DistillationMethod:
    """Make a registered method; `UserError` with the valid choices for an unknown name or parameter."""
    cls = METHODS[choose(name, METHODS, "method")]
    method = cls()
    valid = {k: v for k, v in method.get_config().items() if k not in ("name", "trainable", "dtype")}
    given = {}
    for key, value in (parameters or {}).items():
        key = choose(key, valid, f"parameter of {name}")
        numeric = isinstance(valid[key], float)
        finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if finite != numeric or not (numeric or isinstance(value, str)):
            raise UserError(f"{name}.{key} = {value!r} is no {'finite number' if numeric else 'name'}")
        given[key] = value
    return cls(**given)


def per_sample(values: Tensor) -> Tensor:
    """The mean over everything but the first axis, (B, …) -> (B,), in float32."""
    values = ops.cast(values, "float32")
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def check_positive(name: str, **values: float) -> None:
    """Raise a `UserError` for a negative parameter."""
    for key, value in values.items():
        if value < 0:
            raise UserError(f"{name}.{key} = {value} is negative")


def match_size(features: Tensor, like: Tensor) -> Tensor:
    """Feature maps (B, h, w, C) averaged or interpolated to the height and width of others."""
    size = (like.shape[1], like.shape[2])
    return features if tuple(features.shape[1:3]) == size else ops.image.resize(features, size, antialias=True)
