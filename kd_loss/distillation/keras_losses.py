"""A method's teacher terms as a `keras.distillation.DistillationLoss`, where Keras's contract permits them.

Keras passes a loss one output of one teacher and one of the student, but never the truth; it adds the error to the
truth itself (`student_loss_weight`). So only methods qualify whose term needs one layer of each network and no truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.base import DistillationMethod, TeacherMean, Tensor, get_method
from kd_loss.system.errors import UserError, choose

#: the role of the single teacher
ROLE = "teacher"
INSTEAD = "train with kd_loss's own Distiller, or call kd_loss.losses in a loop of your own"


def as_keras_loss(
    method: str | DistillationMethod,
    *,
    tap: str = "",
    student_layer: str | None = None,
    teacher_layer: str | None = None,
) -> MethodLoss:
    """Return a method as a loss of `keras.distillation.Distiller`, with the method's connector, if any.

    Its value is the mean over the batch of the method's teacher term, with the method's weight; the term about the
    truth is Keras's own.

    Args:
        method: its name, or one made with parameters of your own, e.g. `kd_loss.methods.FitNet(hint=0.1)`.
        tap: the method's tap that the two layers provide; required if it has several (`attention`: P3 and P4, one loss
            for each).
        student_layer: name of the student's layer to read; None: the network's output.
        teacher_layer: name of the teacher's layer to read; None: the network's output.

    Raises:
        UserError: the method needs the truth, more or fewer than one teacher, or several layers at once.

    >>> import keras
    >>> networks = [keras.Sequential([keras.Input((8,)), keras.layers.Dense(10)]) for _ in range(2)]
    >>> distiller = keras.distillation.Distiller(*networks, as_keras_loss("kd"))
    >>> distiller.compile(keras.optimizers.Adam(), loss=keras.losses.MeanAbsoluteError())
    """
    made = get_method(method) if isinstance(method, str) else type(method).from_config(method.get_config())
    name = made.name_on_command_line or type(made).__name__
    if not isinstance(made, TeacherMean):
        count = f"{len(made.teacher_roles)} teachers ({', '.join(made.teacher_roles)})"
        wants = count if made.teacher_roles else "no teacher"
        raise UserError(f"keras.distillation has one teacher, the method {name} needs {wants}: {INSTEAD}")
    if not made.single_taps:
        taps = list(dict.fromkeys([*made.student_taps, *made.teacher_taps]))
        reads = f"several layers at once ({', '.join(taps)})" if len(taps) > 1 else "the truth"
        raise UserError(f"a loss of keras.distillation cannot be the method {name}, which reads {reads}: {INSTEAD}")
    if not tap and len(made.single_taps) > 1:
        several = ", ".join(f'tap="{name}"' for name in made.single_taps)
        raise UserError(f"the method {name} has several taps; a loss of keras.distillation reads one: {several}")
    tap = choose(tap, made.single_taps, f"tap of {name}") if tap else made.single_taps[0]
    if (student_layer is None) != (teacher_layer is None):
        raise UserError("keras.distillation needs the names of both layers, student_layer and teacher_layer, or none")
    return MethodLoss(made, tap, student_layer, teacher_layer)


@keras.saving.register_keras_serializable("kd_loss", "method_loss")
class MethodLoss(keras.layers.Layer, keras.distillation.DistillationLoss):
    """The result of `as_keras_loss`: a layer, so that Keras's `Distiller` finds and trains the method's connector.

    Args:
        method: a method with `tap` among its `single_taps`.
        tap: the tap that the layers stand for.
        student_layer_name, teacher_layer_name: None for the networks' outputs.
    """

    def __init__(
        self,
        method: TeacherMean,
        tap: str,
        student_layer_name: str | None = None,
        teacher_layer_name: str | None = None,
        **kwargs: Any,
    ):
        name = f"{method.name_on_command_line or type(method).__name__}_{tap}"
        super().__init__(**{"name": name, **kwargs, "dtype": "float32"})
        self.method, self.tap = method, tap
        method.teacher_taps = (tap,)  # type: ignore[misc]  # the taps it sums over
        self.student_layer_name, self.teacher_layer_name = student_layer_name, teacher_layer_name
        self.built = True

    def validate_model_compatibility(self, teacher: keras.Model, student: keras.Model) -> None:
        """Check that the layers are there and make the connector; Keras calls it once, before training."""
        student_network, teacher_network = (
            _Output(model, layer, who)
            for model, layer, who in (
                (student, self.student_layer_name, "student"),
                (teacher, self.teacher_layer_name, ROLE),
            )
        )
        self.method.attach(student_network, {ROLE: teacher_network})

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Raise a `UserError` for networks of several outputs."""
        for outputs in (teacher_outputs, student_outputs):
            if isinstance(outputs, Mapping | list | tuple):
                raise UserError(f"the loss {self.name} takes a single tensor; name the layers that it reads")

    def compute_loss(self, teacher_outputs: Tensor, student_outputs: Tensor, **kwargs: Any) -> Tensor:
        """The method's weighted terms, averaged over the batch: a scalar."""
        student, teacher = ({self.tap: ops.cast(value, "float32")} for value in (student_outputs, teacher_outputs))
        weights = self.method.weights_of_terms
        terms = self.method.teacher_terms(ROLE, None, student, teacher)
        return ops.mean(sum(weights.get(name, 1.0) * value for name, value in terms.items()))

    def get_config(self) -> dict[str, Any]:
        """Return the method and the names, for saving."""
        return {
            **super().get_config(),
            "method": keras.saving.serialize_keras_object(self.method),
            "tap": self.tap,
            "student_layer_name": self.student_layer_name,
            "teacher_layer_name": self.teacher_layer_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MethodLoss:
        """Return the loss that `get_config` describes, without its connector's weights."""
        return cls(**{**config, "method": keras.saving.deserialize_keras_object(config["method"])})


class _Output:
    """A layer of any Keras model, with the interface that `attach` expects of networks."""

    weight = 1.0

    def __init__(self, model: keras.Model, layer: str | None, who: str):
        if layer is not None:
            layer = choose(layer, [known.name for known in model.layers], f"layer of the {who}")
            output = model.get_layer(layer).output
        else:
            output = getattr(model, "output", None)
        self.shape = tuple(output.shape[1:]) if hasattr(output, "shape") else None
        self.who = who

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """The shape of the output, without the batch."""
        if self.shape is None:
            raise UserError(
                f"the {self.who} does not define the shape of one output, '{tap}': build it, or name a layer"
            )
        return self.shape

    def channels(self, tap: str) -> int:
        """The last axis of the shape."""
        return int(self.tap_shape(tap)[-1])
