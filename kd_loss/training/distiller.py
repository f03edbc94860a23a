"""The one Keras model that trains a landmark network, with any method and any number of teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.base import DistillationMethod, Taps, Tensor
from kd_loss.distillation.check import attach, check_names, check_terms
from kd_loss.networks.landmark_net import LandmarkNet
from kd_loss.schemes.base import Scheme
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.teacher import RecordedTeacher, Teacher


class Distiller(keras.Model):
    """Student, methods and metrics; only `call`, `compute_loss` and the metrics are Keras's overridden.

    `fit` wants batches `(images, {"landmarks": (B, N, C)})`, the targets of the scheme, with `role/tap` beside them for
    recorded teachers. One student pass per step. Live teachers see the same augmented pictures; none runs
    in evaluation, whose loss is the mean absolute error. Metrics: every term under its own name, and the scheme's
    error: `nme` (%, of the default normaliser) of landmarks, `degrees` of poses.

    Batches with faces of several kinds (`datasets.unlabelled`) have `kind` (B,) beside the landmarks: 0 for
    annotated faces, 1 for faces whose landmarks are the teachers' predictions, on which the distilling terms
    of each method count, 2 for mixtures, on which the mean absolute error counts, 3 for faces that do not count.

    A point that is not annotated (NaN) takes no part: in the terms about the truth the student's own prediction
    stands in its place, so that it adds nothing and pulls nowhere; in the distilling terms, the teachers' mean
    prediction does. Faces whose normalising distance is not annotated do not count in `nme`.

    Args:
        student: the network to train.
        methods: method -> weight in the objective.
        teachers: role -> teacher; every role that a method listens to.
        spec: the scheme of the targets.
        unlabelled_weight, mix_weight: of the distilling terms on faces of kind 1, of the error on kind 2.
        partial: whether there are faces with points that are not annotated.
        kinds: how many kinds of faces share a batch, in equal parts: 1, 2 or, with mixtures, 3.
    """

    def __init__(
        self,
        *,
        student: LandmarkNet,
        methods: Mapping[DistillationMethod, float],
        teachers: Mapping[str, Teacher] | None = None,
        spec: Scheme,
        unlabelled_weight: float = 1.0,
        mix_weight: float = 0.0,
        partial: bool = False,
        kinds: int = 1,
    ):
        super().__init__(name="distiller")
        teachers = dict(teachers or {})
        self._heard = {method.name_on_command_line: method.heard(teachers) for method in methods}
        for method in methods:
            check_names(method)
            for role in (role for role in self._heard[method.name_on_command_line] if role not in teachers):
                raise UserError(f"the method {method.name_on_command_line} needs a {role} teacher")
        for role, teacher in teachers.items():
            if teacher.shape != spec.shape:
                gives = f"finds {teacher.shape[0]} points" if teacher.shape[1] == 2 else f"gives {teacher.shape}"
                raise UserError(f"the {role} teacher {gives}, the dataset has {spec.noun}")
        taps = ["landmarks", *(tap for method in methods for tap in method.student_taps)]
        self.student = student.tap_model(taps)
        self.methods = list(methods)
        self._weights_of_methods = list(methods.values())
        self._ask_teachers = _Untracked(teachers)
        self._spec = _Untracked(spec)
        policy = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy("float32")  # connectors too compute in float32
        try:
            for method in methods:
                attach(method, student, self._heard_by(method, teachers))
        finally:
            keras.mixed_precision.set_global_policy(policy)
        if keras.distribution.distribution() is None:  # weights spread over processes answer to no one alone
            for method in methods:
                told = {
                    role: {tap: teacher.tap_shape(tap) for tap in method.teacher_taps}
                    for role, teacher in self._heard_by(method, teachers).items()
                }
                shapes = {tap: tuple(self.student.output[tap].shape[1:]) for tap in method.student_taps}
                check_terms(method, spec.shape, shapes, told)
        self.metric = spec.metric
        self.trackers = {spec.metric: keras.metrics.Mean(name=spec.metric)}
        for method in methods:
            for name in method.term_names:
                self.trackers[self._key(method, name)] = keras.metrics.Mean(name=self._key(method, name))
        self.unlabelled_weight, self.mix_weight = unlabelled_weight, mix_weight
        self.partial, self.kinds = partial, kinds
        self._shares = {role: teacher.weight for role, teacher in teachers.items()}
        if mix_weight:
            self.trackers["mixed"] = keras.metrics.Mean(name="mixed")
        self._trained = True
        self.built = True

    def _heard_by(self, method: DistillationMethod, teachers: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the teachers, or of their taps, that a method listens to: in a combination it is itself alone."""
        return {role: teachers[role] for role in self._heard[method.name_on_command_line]}

    def _terms(self, method: DistillationMethod, truth: Tensor, student: Taps, teachers: Any, kind: Tensor) -> Any:
        """A method's terms; those of a relational one about each kind of faces by themselves, 0 for mixtures."""
        heard = self._heard_by(method, teachers)
        if not (method.relational and self.kinds > 1):
            return method.terms(truth, student, heard)
        order = ops.argsort(kind)  # equally many of each kind
        rows, count = ops.split(order, self.kinds), order.shape[0] // self.kinds
        parts = []
        for chosen in rows[:2]:
            parts.append(
                method.terms(
                    ops.take(truth, chosen, axis=0),
                    {tap: ops.take(value, chosen, axis=0) for tap, value in student.items()},
                    {
                        role: {tap: ops.take(value, chosen, axis=0) for tap, value in taps.items()}
                        for role, taps in heard.items()
                    },
                )
            )
        back = ops.argsort(order)
        none = [ops.zeros((count,))] * (self.kinds - 2)
        return {name: ops.take(ops.concatenate([*(p[name] for p in parts), *none]), back) for name in parts[0]}

    def _key(self, method: DistillationMethod, term: str) -> str:
        return term if len(self.methods) == 1 else f"{method.name_on_command_line}.{term}"

    @property
    def objective(self) -> str:
        """The objective as one line, e.g. `2·main + 1·tough + 1·tolerant`."""
        terms = [
            f"{weight * method.weights_of_terms.get(term, 1.0):g}·{self._key(method, term)}"
            for method, weight in zip(self.methods, self._weights_of_methods, strict=True)
            for term in method.term_names
        ]
        return " + ".join([*terms, *([f"{self.mix_weight:g}·mixed"] if self.mix_weight else [])])

    @property
    def terms_in_order(self) -> list[str]:
        """The names of the terms as the objective has them."""
        return [name for name in self.trackers if name != self.metric]

    def call(self, images: Tensor, training: bool | None = None) -> Taps:
        """The student's taps."""
        return self.student(ops.cast(images, "float32"), training=training)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The objective in training; the mean absolute error of the targets in evaluation."""
        truth = ops.cast(y["landmarks"], "float32")
        student = {name: ops.cast(value, "float32") for name, value in y_pred.items()}
        self._trained = training  # read by compute_metrics, which follows in the same step
        kind = y.get("kind", ops.zeros(ops.shape(truth)[0]))
        annotated = ops.cast(kind == 0, "float32")
        count = ops.sum(annotated)
        wrong = self._spec.value.training_error(truth, student["landmarks"])
        known = annotated * ops.cast(ops.isfinite(wrong), "float32")
        self.trackers[self.metric].update_state(ops.where(ops.isfinite(wrong), wrong, 0.0), sample_weight=known)
        missing, predicted = ops.isnan(truth), ops.stop_gradient(student["landmarks"])
        written, truth = truth, ops.where(missing, predicted, truth) if self.partial or not training else truth
        if not training:
            return ops.sum(ops.mean(ops.abs(student["landmarks"] - truth), axis=(1, 2)) * annotated) / count
        teachers = {
            role: teacher(y if isinstance(teacher, RecordedTeacher) else x)
            for role, teacher in self._ask_teachers.value.items()
        }
        shared = annotated + self.unlabelled_weight * ops.cast(kind == 1, "float32")
        total = ops.zeros(())
        for method, weight in zip(self.methods, self._weights_of_methods, strict=True):
            values_by_name = dict(self._terms(method, truth, student, teachers, kind))
            if self.partial and (heard := self._heard_by(method, teachers)):
                # in distilling terms the answers of its own teachers stand for what is not annotated
                whole = sum(self._shares[role] for role in heard)
                answer = sum(self._shares[role] * taps["landmarks"] for role, taps in heard.items()) / whole
                again = self._terms(method, ops.where(missing, answer, written), student, teachers, kind)
                values_by_name |= {name: again[name] for name in method.distilling_terms}
            for name, values in values_by_name.items():
                mean = ops.sum(values * (shared if name in method.distilling_terms else annotated)) / count
                self.trackers[self._key(method, name)].update_state(mean, sample_weight=count)
                total += weight * method.weights_of_terms.get(name, 1.0) * mean
        if self.mix_weight:
            error = ops.mean(ops.abs(student["landmarks"] - truth), axis=(1, 2))
            mixed = ops.sum(error * ops.cast(kind == 2, "float32")) / count
            self.trackers["mixed"].update_state(mixed, sample_weight=count)
            total += self.mix_weight * mixed
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """What `compute_loss` recorded: in evaluation there are no terms."""
        results = self.get_metrics_result()
        return results if self._trained else {key: results[key] for key in ("loss", self.metric)}


class _Untracked:
    """Holds a value out of Keras's sight."""

    def __init__(self, value: Any):
        self.value = value
