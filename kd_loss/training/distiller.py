"""The one Keras model that trains a landmark network, with any method and any number of teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.base import DistillationMethod, MethodUse, Taps, Tensor, uses_of
from kd_loss.distillation.check import attach, check_terms
from kd_loss.distillation.partial import ANNOTATED
from kd_loss.distillation.visible import visibility_loss
from kd_loss.networks.landmark_net import LandmarkNet, save_network
from kd_loss.networks.tapped_model import TappedModel
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.arguments import path_of
from kd_loss.system.errors import UserError
from kd_loss.training.check_data import Expected, check_settings, check_visibility, checked_data
from kd_loss.training.teachers.host import own_errors
from kd_loss.training.teachers.roles import open_teachers, target_words
from kd_loss.training.teachers.teacher import Teacher, scaled_pictures

#: methods as `Distiller` takes them
Methods = (
    Mapping[DistillationMethod, float] | Sequence[DistillationMethod | tuple[DistillationMethod, float] | MethodUse]
)


class Distiller(keras.Model):
    """Trains a student on annotated faces with any number of teachers and methods, using Keras's own `fit`.

    Only `call`, `compute_loss` and the metrics are overridden: callbacks, mixed precision, gradient accumulation,
    averaged weights and `steps_per_execution` work as in any Keras model, on TensorFlow, JAX and PyTorch. Each step
    makes one student pass; live teachers see the same augmented images. Evaluation calls no teacher, and its loss is
    the mean absolute error. The student is trained in place: `student.predict(…)` and `student.save(…)` are its own,
    and `save` of the distiller, which `keras.callbacks.ModelCheckpoint` calls, saves the student as well.

    Datasets yield `(images, landmarks)` or `(images, landmarks, sample_weight)`: arrays, `tf.data`, `PyDataset` or
    generators; images (B, S, S, 3), landmarks (B, K, 2) or (B, 2K) in `coordinates`. Instead of landmarks they may
    yield a dictionary with `landmarks` and related entries: `role/tap`, the predictions of recorded teachers
    (`kd_loss.with_answers`), and `kind` (B,), see below.

    Metrics: every term under its own name, and the scheme's error: `nme` in % of the default normaliser, or `degrees`
    for poses.

    Batches with faces of several kinds (`datasets.mixed_loader`) have `kind` (B,): 0 for annotated faces, 1 for faces
    whose landmarks are the teachers' predictions and which count in the distilling terms of each method, 2 for
    mixtures, which count in the mean absolute error, 3 for faces that do not count.

    A point that is not annotated (NaN) is masked: in the terms on the truth, the student's own prediction
    replaces it, so it adds neither loss nor gradient; in the distilling terms, the teachers' mean
    prediction does. Faces whose normalising distance is not annotated do not count in `nme`.

    Args:
        student: any Keras model from images to landmarks, see `TappedModel`, or a `LandmarkNet`.
        methods: methods, each alone or with its weight in the objective: `[KDLoss(), (Attention(), 0.1)]`.
        teachers: role -> teacher, see `as_teacher`: a Keras model, a `LandmarkNet`, a file, a function, recorded
            answers. Every role that a method uses; KD-Loss uses `tough` and `tolerant`, most others use any: all
            that have the taps that the method reads.
        coordinates: unit of the landmarks of the dataset and of foreign models, see `Coordinates`.
        taps: tap -> layer of a foreign student, where its size does not identify the right one.
        image_size: side of the images in pixels, for a student without a fixed input size.
        image_range: values of black and white in the dataset's images. Networks of this package, functions
            and files of other runtimes receive 0…255; other Keras models receive the images unchanged.
        scheme: scheme of the landmarks; without one, NME is normalised by the box of the face's landmarks.
        partial: whether faces may have points that are not annotated (NaN).
        unlabelled_weight, mix_weight: weights of the distilling terms on faces of kind 1 and of the error on kind 2.
        visibility_weight: weight of the cross-entropy of visible points, for targets with `visibility` (B, K), or NaN.
        kinds: how many kinds of faces share a batch, in equal parts: 1, 2 or, with mixtures, 3.

    Raises:
        UserError: a method, a teacher or a tap does not fit; one line names it and lists the alternatives.

    Example:
        >>> distiller = kd_loss.Distiller(student=student, teachers={"tough": a, "tolerant": b},
        ...                               methods=[kd_loss.methods.KDLoss()])          # doctest: +SKIP
        >>> distiller.compile(keras.optimizers.AdamW(1e-3))                            # doctest: +SKIP
        >>> distiller.fit(dataset, epochs=50)                                          # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        student: LandmarkNet | keras.Model,
        methods: Methods,
        teachers: Mapping[str, Any] | None = None,
        coordinates: Coordinates | str | tuple[float, float] = "normalised",
        taps: Mapping[str, str] | None = None,
        image_size: int | None = None,
        image_range: tuple[float, float] = (0.0, 255.0),
        scheme: Scheme | None = None,
        partial: bool = False,
        unlabelled_weight: float = 1.0,
        mix_weight: float = 0.0,
        visibility_weight: float = 0.0,
        kinds: int = 1,
    ):
        super().__init__(name="distiller")
        weights = {"unlabelled_weight": unlabelled_weight, "mix_weight": mix_weight}
        self._image_range = check_settings(image_range, scheme, teachers, partial, kinds, **weights)
        if not isinstance(student, LandmarkNet | TappedModel):
            student = TappedModel(student, coordinates=coordinates, taps=taps, size=image_size)
        if image_size and student.size != image_size:
            raise UserError(f"the student takes images of {student.size} px, image_size is {image_size}")
        check_visibility(student, visibility_weight)
        network = _Untracked(student)
        size = student.size or image_size
        scheme = scheme or LandmarkScheme(name="own", points=student.target_shape[0])
        if student.target_shape != scheme.shape:
            raise UserError(f"the student {target_words(student.target_shape)}, the dataset has {scheme.noun}")
        uses = uses_of(methods)
        opened, self._used = open_teachers(teachers or {}, uses, scheme, size=size, coordinates=coordinates)
        self._network = network
        self.visibility_weight, more = visibility_weight, ["visibility"] if visibility_weight else []
        self.student = student.tap_model(["landmarks", *(t for use in uses for t in use.method.student_taps), *more])
        self.methods = [use.method for use in uses]
        self._weights_of_methods = [use.weight for use in uses]
        self._teachers = _Untracked(opened)
        self._scheme = _Untracked(scheme)
        self._coordinates = Coordinates.of(coordinates, size)
        self._attach(opened, student)
        self.metric = scheme.metric
        self.trackers = {scheme.metric: keras.metrics.Mean(name=scheme.metric)}
        for method in self.methods:
            for name in method.term_names:
                self.trackers[self._key(method, name)] = keras.metrics.Mean(name=self._key(method, name))
        self.unlabelled_weight, self.mix_weight = unlabelled_weight, mix_weight
        self.partial, self.kinds = partial, kinds
        self._shares = {role: teacher.weight for role, teacher in opened.items()}
        if mix_weight:
            self.trackers["mixed"] = keras.metrics.Mean(name="mixed")
        if visibility_weight:
            self.trackers["visibility"] = keras.metrics.Mean(name="visibility")
        self._trained = True
        self.built = True

    def _attach(self, teachers: Mapping[str, Teacher], student: Any) -> None:
        """Pass the networks to every method, and check it on two synthetic faces."""
        policy = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy("float32")  # connectors too compute in float32
        try:
            for method in self.methods:
                attach(method, student, self._teachers_of(method, teachers))
        finally:
            keras.mixed_precision.set_global_policy(policy)
        if keras.distribution.distribution() is not None:  # no single process can read weights spread over several
            return
        for method in self.methods:
            given = {
                role: {tap: teacher.tap_shape(tap) for tap in method.teacher_taps}
                for role, teacher in self._teachers_of(method, teachers).items()
            }
            shapes = {tap: tuple(self.student.output[tap].shape[1:]) for tap in method.student_taps}
            check_terms(method, self._scheme.value.shape, shapes, given)

    def compile(self, optimizer: Any = "adam", *, jit_compile: Any = None, **options: Any) -> None:
        """Compile as any Keras model, but without a loss or metrics: the methods define them.

        `jit_compile` defaults to False under TensorFlow on a CPU, where XLA is ten times slower than no XLA, and to
        Keras's own choice elsewhere.

        Raises:
            UserError: a loss or metrics are given.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if options.get(name):
                raise UserError(f"compile({name}=…): the methods define the loss and the metrics; remove {name}")
        if jit_compile is None:
            jit_compile = False if _tensorflow_on_a_cpu() else "auto"
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **options)

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Keras's `fit`, after a check of the first batch.

        A tuple of arrays may be passed whole: `fit((images, landmarks))`, as `kd_loss.with_answers` returns it.

        Raises:
            UserError: the images, landmarks or weights of the first batch do not fit, the dataset is endless
                and no `steps_per_epoch` is given, or a later batch has another shape.
        """
        if isinstance(x, tuple) and y is None and len(x) in (2, 3):
            x, y, *weights = x
            options.update({"sample_weight": weights[0]} if weights else {})
        with own_errors(), checked_data(self._expected(), x, y, options) as (x, y):
            return super().fit(x, y, **options)

    def save(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Save the student alone, as `keras.callbacks.ModelCheckpoint` does: `.keras`, `.h5`.

        A student of this package is saved with its card. `save_weights` stores the whole state of the training, with
        connectors and optimizer: `keras.callbacks.BackupAndRestore` resumes it.
        """
        network = self._network.value
        if isinstance(network, LandmarkNet):
            path = path_of(filepath, "filepath")
            if path.suffix not in (".keras", ".h5"):
                raise UserError(f"{path} ends in neither .keras nor .h5")
            if path.exists() and not overwrite:
                raise UserError(f"{path} exists")
            save_network(network, path)
        else:
            network.model.save(filepath, overwrite=overwrite, **options)

    def _expected(self) -> Expected:
        network = self._network.value
        teachers = self._teachers.value
        reads = [isinstance(network, LandmarkNet), *(teacher.reads_bytes for teacher in teachers.values())]
        return Expected(
            size=network.size,
            reads_bytes=any(reads),
            image_range=self._image_range,
            shape=self._scheme.value.shape,
            coordinates=self._coordinates,
            partial=self.partial,
            teachers=teachers,
        )

    def _teachers_of(self, method: DistillationMethod, teachers: Mapping[str, Any]) -> dict[str, Any]:
        """The teachers, or their taps, that a method uses."""
        return {role: teachers[role] for role in self._used[method.name_on_command_line]}

    def _terms(self, method: DistillationMethod, truth: Tensor, student: Taps, teachers: Any, kind: Tensor) -> Any:
        """A method's terms; a relational method is computed on each kind of faces separately, 0 for mixtures."""
        used = self._teachers_of(method, teachers)
        if not (method.relational and self.kinds > 1):
            return method.terms(truth, student, used)
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
                        for role, taps in used.items()
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
        more = {"mixed": self.mix_weight, "visibility": self.visibility_weight}
        return " + ".join([*terms, *(f"{weight:g}·{name}" for name, weight in more.items() if weight)])

    @property
    def terms_in_order(self) -> list[str]:
        """The names of the terms as in the objective."""
        return [name for name in self.trackers if name != self.metric]

    def call(self, images: Tensor, training: bool | None = None) -> Taps:
        """The student's taps; landmarks (B, K, 2) are normalised."""
        return self.student(self._pictures(images, isinstance(self._network.value, LandmarkNet)), training=training)

    def _pictures(self, images: Tensor, as_bytes: bool) -> Tensor:
        return scaled_pictures(images, as_bytes, self._image_range)

    def _targets(self, y: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The truth (B, N, C), normalised, and the other entries of the batch."""
        more = y if isinstance(y, Mapping) else {}
        truth = ops.cast(y["landmarks"] if isinstance(y, Mapping) else y, "float32")
        if len(truth.shape) == 2:
            truth = ops.reshape(truth, (-1, *self._scheme.value.shape))
        scale = self._coordinates
        return truth if scale.is_normalised else scale.normalised(truth), more

    def _answers(self, x: Tensor | None, more: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Role -> the teacher's taps for this batch."""
        taps = {}
        for role, teacher in self._teachers.value.items():
            recorded = {key.partition("/")[2]: value for key, value in more.items() if key.startswith(f"{role}/")}
            images = None if x is None else self._pictures(x, teacher.reads_bytes)
            taps[role] = teacher(images, recorded)
        return taps

    def compute_loss(
        self,
        x: Tensor = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The objective in training; the mean absolute error of the targets in evaluation."""
        truth, more = self._targets(y)
        student = {name: ops.cast(value, "float32") for name, value in y_pred.items()}
        self._trained = training  # read by compute_metrics, which follows in the same step
        kind = more.get("kind", ops.zeros(ops.shape(truth)[0]))
        annotated = ops.cast(kind == 0, "float32")
        count = ops.sum(annotated)
        wrong = self._scheme.value.training_error(truth, student["landmarks"])
        known = annotated * ops.cast(ops.isfinite(wrong), "float32")
        self.trackers[self.metric].update_state(ops.where(ops.isfinite(wrong), wrong, 0.0), sample_weight=known)
        if isinstance(sample_weight, Mapping):  # of arrays Keras makes a weight for each array of a dictionary
            sample_weight = sample_weight["landmarks"]
        if sample_weight is not None:
            annotated = annotated * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        missing, predicted = ops.isnan(truth), ops.stop_gradient(student["landmarks"])
        complete = self._scheme.value.completed
        written, truth = truth, complete(truth, predicted) if self.partial or not training else truth
        if not training:
            return ops.sum(ops.mean(ops.abs(student["landmarks"] - truth), axis=(1, 2)) * annotated) / count
        teachers = self._answers(x, more)
        if self.partial:
            student = {**student, ANNOTATED: ops.cast(ops.logical_not(ops.any(missing, axis=-1)), "float32")}
        shared = annotated + self.unlabelled_weight * ops.cast(kind == 1, "float32")
        total = ops.zeros(())
        for method, weight in zip(self.methods, self._weights_of_methods, strict=True):
            values_by_name = dict(self._terms(method, truth, student, teachers, kind))
            if self.partial and (used := self._teachers_of(method, teachers)):
                # in distilling terms the method's own teachers' predictions replace what is not annotated
                whole = sum(self._shares[role] for role in used)
                answer = sum(self._shares[role] * taps["landmarks"] for role, taps in used.items()) / whole
                again = self._terms(method, complete(written, answer), student, teachers, kind)
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
        if self.visibility_weight and "visibility" in more:
            entropy, labels = visibility_loss(more["visibility"], student["visibility"], annotated)
            self.trackers["visibility"].update_state(entropy, sample_weight=labels)
            total += self.visibility_weight * entropy
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """What `compute_loss` recorded: in evaluation there are no terms."""
        results = self.get_metrics_result()
        return results if self._trained else {key: results[key] for key in ("loss", self.metric)}


def _tensorflow_on_a_cpu() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


class _Untracked:
    """Holds a value that Keras must not track."""

    def __init__(self, value: Any):
        self.value = value
