"""Distils a recogniser into a small one with the toolkit's `Distiller` and its registry of methods.

An embedding (B, D) counts as D / 2 points (B, D / 2, 2): the tap `landmarks` of student and teachers is the embedding
of length 1, so that `imitation` compares embeddings; `rkd` and `pkt` relate the same ones, `srrl` reads the student's
embedding through the teacher's centres. The term on the truth, `main`, is replaced by the margin loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.base import DistillationMethod, MethodUse, Taps, get_method
from kd_loss.recognition.card import weights_file
from kd_loss.recognition.embedders import Embedder, as_embedder
from kd_loss.recognition.margins import MarginHead, contrast
from kd_loss.recognition.options import RecogniserOptions, check_width, method_and_weight
from kd_loss.recognition.recogniser import CENTRES, Recogniser
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256
from kd_loss.training.distiller import Distiller
from kd_loss.training.teachers.host import call_on_host, own_errors
from kd_loss.training.teachers.teacher import Teacher

Tensor = Any


class EmbeddingTeacher(Teacher):
    """Anything that gives embeddings as a teacher; called in every step, on the images that the student sees.

    Args:
        embedder: gives the embeddings (B, D); a recogniser, a file, a function.
        size: side of the student's images in pixels.
        centres: (D, N) of the teacher's persons, for `srrl`, whose `landmarks` are then the cosines to them.
    """

    def __init__(self, embedder: Embedder, size: int, centres: np.ndarray | None = None):
        self.embedder, self.centres = embedder, centres
        self.model = embedder.recogniser.export_model() if embedder.recogniser and embedder.size == size else None
        self.width = embedder.embed(np.zeros((1, size, size, 3), np.uint8)).shape[1]
        if self.width % 2:
            raise UserError(f"the teacher {embedder.title} gives embeddings of {self.width} numbers, an odd number")
        super().__init__((self.width // 2, 2))

    def __call__(self, images: Tensor, answers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        if self.model is not None:
            found = ops.stop_gradient(self.model(ops.cast(images, "float32"), training=False))
        else:
            found = call_on_host(self._ask, images, {"embedding": (self.width,)})["embedding"]
        if self.centres is None:
            return {"landmarks": ops.reshape(found, (-1, *self.shape)), "embedding": found}
        return {"landmarks": ops.matmul(found, self.centres), "embedding": found}

    def _ask(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"embedding": self.embedder.embed(np.clip(np.round(images), 0, 255).astype(np.uint8)).astype(np.float32)}

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Shape of the embedding, or of the cosines to the centres."""
        if tap not in ("landmarks", "embedding"):
            raise UserError(f"a teacher of embeddings gives landmarks and embedding, not '{tap}'")
        if tap == "landmarks":
            return self.shape if self.centres is None else (self.centres.shape[1],)
        return (self.width,)

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The centres (D, N), and zeros; raises a `UserError` without them."""
        if self.centres is None:
            raise UserError(f"srrl reads a teacher's centres of its persons, which {self.embedder.title} does not have")
        return self.centres, np.zeros(self.centres.shape[1], np.float32)


class RecogniserDistiller(Distiller):
    """The `Distiller` of embeddings: the margin loss in place of the term on the truth.

    Args:
        student: without a landmark network.
        head: the centres of the training's persons.
        methods, teachers: see `Distiller`; teachers are `EmbeddingTeacher`s.
    """

    def __init__(
        self, student: Recogniser, head: MarginHead, methods: Sequence[MethodUse], teachers: Mapping[str, Teacher]
    ):
        width = student.card.embedding
        super().__init__(
            student=keras.Model(student.network.input["image"], student.network.output["embedding"], name="student"),
            methods=list(methods),
            teachers=teachers,
            taps={"embedding": "embedding"},
            scheme=LandmarkScheme(name="embedding", points=width // 2),
        )
        self.head = head
        for name in ("margin", "accuracy"):
            self.trackers[name] = keras.metrics.Mean(name=name)
        for method in self.methods:
            if "main" in method.distilling_terms and len(method.term_names) == 1:
                continue
            self.trackers.pop(self._key(method, "main"), None)

    @property
    def order(self) -> list[str]:
        """The columns of a history."""
        return ["loss", *(name for name in self.trackers if name != self.metric)]

    @property
    def objective(self) -> str:
        """The objective as one line."""
        terms = [
            f"{weight * method.weights_of_terms.get(term, 1.0):g}·{self._key(method, term)}"
            for method, weight in zip(self.methods, self._weights_of_methods, strict=True)
            for term in method.distilling_terms
        ]
        return " + ".join([f"{self.head.kind}(s {self.head.scale:g}, m {self.head.margin:g})", *terms])

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Keras's `fit` on a `PersonsLoader`."""
        with own_errors():
            return keras.Model.fit(self, x, y, **options)

    def call(self, inputs: dict[str, Tensor], training: bool | None = None) -> Taps:
        """The student's embedding as points, and as it is."""
        return super().call(inputs["image"], training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The margin loss and the methods' distilling terms; of held-out persons their contrast."""
        # `imitation` alone does not ask for the tap `embedding`; the points are the same numbers
        embedding = ops.reshape(y_pred["landmarks"], (-1, math.prod(y_pred["landmarks"].shape[1:])))
        self._trained = training
        if not training:
            return ops.mean(contrast(embedding, y["label"]))
        values = self.head.terms(embedding, y["label"])
        for name, value in values.items():
            self.trackers[name].update_state(value)
        total = values["margin"]
        student = {name: ops.cast(value, "float32") for name, value in y_pred.items()}
        truth, teachers = ops.stop_gradient(student["landmarks"]), self._answers(x["image"], {})
        for method, weight in zip(self.methods, self._weights_of_methods, strict=True):
            values = method.terms(truth, student, self._teachers_of(method, teachers))
            for name in method.distilling_terms:
                mean = ops.mean(values[name])
                self.trackers[self._key(method, name)].update_state(mean)
                total = total + weight * method.weights_of_terms.get(name, 1.0) * mean
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """What `compute_loss` recorded; in evaluation the loss alone."""
        results = self.get_metrics_result()
        shown = self.order if self._trained else ["loss"]
        return {key: results[key] for key in shown}


def parse_method(text: str) -> MethodUse:
    """A method of `options.WEIGHTS` with its weight: `pkt`, or `pkt:5`.

    Raises:
        UserError: there is no such method for embeddings, or the weight is no positive number.
    """
    name, value = method_and_weight(text)
    return MethodUse(_made(name), value)


def _made(name: str) -> DistillationMethod:
    return get_method(name, {"alpha": 0.0} if name == "imitation" else {})


def distilling_trainer(
    recogniser: Recogniser, head: MarginHead, options: RecogniserOptions
) -> tuple[RecogniserDistiller, dict[str, Any]]:
    """The trainer of `train-recogniser --teacher`, and what the student's card says of it.

    Raises:
        UserError: the teacher's embeddings have another width, or `srrl` has no centres.
    """
    embedder = as_embedder(options.teacher)
    path = Path(options.teacher.partition(":")[0])
    uses = [parse_method(text) for text in options.method]
    centres = None
    if "srrl" in [use.name for use in uses]:
        file = path / CENTRES if path.is_dir() else path.parent / CENTRES
        if embedder.recogniser is None or not file.is_file():
            raise UserError(f"srrl reads {CENTRES} beside a teacher that kd-loss trained, which {path} does not have")
        centres = np.load(file, allow_pickle=False)
    teacher = EmbeddingTeacher(embedder, recogniser.card.size, centres)
    check_width(options, teacher.width)
    record = {
        "teacher": embedder.title,
        "teacher_sha256": sha256(weights_file(path)),
        "method": options.method,
    }
    return RecogniserDistiller(recogniser, head, uses, {"teacher": teacher}), record
