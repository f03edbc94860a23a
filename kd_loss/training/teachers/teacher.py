"""Teachers as a method uses them. All have one interface, `teacher(images, answers)`, called in every training step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from kd_loss.datasets.transform import Answers
from kd_loss.distillation.base import Tensor
from kd_loss.networks.landmark_net import LandmarkNet
from kd_loss.networks.tapped_model import TappedModel
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.system.arguments import function_of, list_of, number_of, path_of, text_of, whole_of, wrong
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.host import call_on_host, without_gradient


class TapNetwork(Protocol):
    """What a student or a live teacher is: `LandmarkNet`, or any Keras model as a `TappedModel`."""

    @property
    def size(self) -> int | None: ...
    @property
    def taps(self) -> tuple[str, ...]: ...
    @property
    def target_shape(self) -> tuple[int, int]: ...
    def tap_model(self, names: Iterable[str]) -> keras.Model: ...
    def channels(self, tap: str) -> int: ...
    def head_weights(self) -> tuple[np.ndarray, np.ndarray]: ...


class Teacher:
    """Base class of all teachers; a plain object, so that Keras does not track it.

    Attributes:
        shape: shape of its target, (N, C): (K, 2) for K landmarks.
        weight: weight of its terms, where a method averages over teachers.
        training_errors: (N,) mean squared error on each training face, for methods that need it.
        reads_bytes: whether it takes RGB of 0…255; otherwise it takes images unchanged.
    """

    reads_bytes = True

    def __init__(self, shape: tuple[int, int], weight: float = 1.0, training_errors: np.ndarray | None = None):
        self.shape, self.weight, self.training_errors = shape, weight, training_errors

    def __call__(self, images: Tensor, answers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Taps for a batch, without gradients, in float32; landmarks (B, K, 2) are normalised.

        Args:
            images: (B, S, S, 3), the student's input.
            answers: tap -> (B, …), the predictions of a recorded teacher in the batch; a live teacher needs none.
        """
        raise NotImplementedError

    def with_taps(self, taps: Sequence[str]) -> Teacher:
        """This teacher, returning these taps; raises a `UserError` if it lacks one."""
        for tap in taps:
            self.tap_shape(tap)
        return self

    def with_errors(self, errors: np.ndarray) -> Teacher:
        """This teacher with its errors on the training faces (N,)."""
        other = copy.copy(self)
        other.training_errors = errors
        return other

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """The shape of a tap, without the batch."""
        raise NotImplementedError

    def channels(self, tap: str) -> int:
        """The number of channels of a tap: the last axis of its shape."""
        return int(self.tap_shape(tap)[-1])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel (C, 2K) and bias (2K,) of its linear head on the embedding; raises a `UserError` without one."""
        raise UserError("a teacher that is a function or of another runtime has no known head")


class LiveTeacher(Teacher):
    """A Keras network, called in every step on exactly the image that the student sees; it is not trained.

    Args:
        network: a `LandmarkNet`, or any Keras model from images to landmarks.
        taps: taps that the methods read; the `Distiller` adds missing ones.
        weight: see `Teacher`.
        coordinates, names, image_size: settings of a Keras model, see `TappedModel` (`taps`, `size` there).
        point_map: the rows of its landmarks in the student's order, or a function of tensors (B, M, 2) ->
            (B, K, 2), for a network of another scheme.
    """

    def __init__(
        self,
        network: LandmarkNet | TappedModel | keras.Model,
        taps: Sequence[str] = ("landmarks",),
        weight: float = 1.0,
        *,
        coordinates: Coordinates | str | tuple[float, float] = "normalised",
        names: Mapping[str, str] | None = None,
        image_size: int | None = None,
        point_map: Sequence[int] | Callable[[Tensor], Tensor] | None = None,
    ):
        weight, taps = _weight(weight), [text_of(tap, "taps") for tap in list_of(taps, "taps", "a list of taps")]
        if not isinstance(network, LandmarkNet | TappedModel):
            option = "LiveTeacher(…, names={…})"
            network = TappedModel(network, coordinates=coordinates, taps=names, size=image_size, option=option)
        self.network: TapNetwork = network
        self.reads_bytes = isinstance(network, LandmarkNet)
        self.point_map = point_map
        points = network.target_shape if point_map is None else _mapped_shape(point_map, network.target_shape)
        super().__init__(points, weight)
        self.taps = tuple(dict.fromkeys(["landmarks", *taps]))
        self.model = network.tap_model(self.taps)

    def __call__(self, images: Tensor, answers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        images, size = ops.cast(images, "float32"), self.network.size
        if size and images.shape[1:3] != (size, size):
            images = ops.image.resize(images, (size, size), antialias=True)
        with without_gradient():  # and not `trainable = False`, which would freeze the user's network for good
            taps = self.model(images, training=False)
        found = {name: ops.stop_gradient(ops.cast(value, "float32")) for name, value in taps.items()}
        if self.point_map is not None:
            found["landmarks"] = _map_points(self.point_map, found["landmarks"])
        return found

    def with_taps(self, taps: Sequence[str]) -> LiveTeacher:
        """This teacher with these taps added."""
        if set(taps) <= set(self.taps):
            return self
        other = copy.copy(self)
        other.taps = tuple(dict.fromkeys([*self.taps, *taps]))
        other.model = self.network.tap_model(other.taps)
        return other

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Shape of the network's tap."""
        if tap == "landmarks":
            return self.shape
        return tuple(self.network.tap_model([tap]).output[tap].shape[1:])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Head of the network."""
        return self.network.head_weights()


class FunctionTeacher(Teacher):
    """A function of NumPy arrays, or a network of another runtime, called in every step.

    Args:
        function: images (B, S, S, 3) uint8 RGB -> landmarks (B, M, 2), or a dictionary with landmarks and other taps.
        size: side of its input images in pixels.
        weight: see `Teacher`.
        coordinates: unit of its landmarks.
        point_map: see `LiveTeacher`.

    Raises:
        UserError: its output for two black images has another form.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        size: int,
        weight: float = 1.0,
        *,
        coordinates: Coordinates | str | tuple[float, float] = "normalised",
        point_map: Sequence[int] | Callable[[Tensor], Tensor] | None = None,
    ):
        weight, size = _weight(weight), whole_of(size, "size", 1, 1 << 14)
        self.function, self.size, self.point_map = function_of(function, "function"), size, point_map
        self.coordinates = Coordinates.of(coordinates, size)
        first = self._evaluate(np.zeros((2, size, size, 3), np.uint8))
        self._shapes = {name: tuple(values.shape[1:]) for name, values in first.items()}
        points = self._shapes["landmarks"]
        super().__init__(points if point_map is None else _mapped_shape(point_map, points), weight)

    def _evaluate(self, images: np.ndarray) -> dict[str, np.ndarray]:
        answer = self.function(np.clip(np.round(images), 0, 255).astype(np.uint8))
        taps = {n: np.asarray(v, np.float32) for n, v in answer.items()} if isinstance(answer, Mapping) else {}
        points = taps.get("landmarks", np.empty(0, np.float32)) if taps else np.asarray(answer, np.float32)
        if points.ndim == 2 and points.shape[1] % 2 == 0:
            points = np.reshape(points, (len(points), -1, 2))
        if points.ndim != 3 or points.shape[2] not in (2, 3) or len(points) != len(images):
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise UserError(
                f"the teacher {name} returns {points.shape} for {len(images)} images; expected landmarks (B, K, 2)"
            )
        return {**taps, "landmarks": np.asarray(self.coordinates.normalised(points), np.float32)}

    def __call__(self, images: Tensor, answers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        if images.shape[1:3] != (self.size, self.size):
            images = ops.image.resize(ops.cast(images, "float32"), (self.size, self.size), antialias=True)
        taps = call_on_host(self._evaluate, images, self._shapes)
        if self.point_map is not None:
            taps["landmarks"] = _map_points(self.point_map, taps["landmarks"])
        return taps

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Shape of the output for two images."""
        if tap not in self._shapes:
            raise UserError(f"a teacher that is a function returns {', '.join(self._shapes)}, not '{tap}'")
        return self.shape if tap == "landmarks" else self._shapes[tap]


class RecordedTeacher(Teacher):
    """A teacher that was called once, on all faces; its predictions travel with each batch.

    Args:
        answers: predictions on the training faces, see `datasets.transform.Answers`.
        network: the network that made them; None for another runtime.
        weight: see `Teacher`.
    """

    def __init__(self, answers: Answers, network: LandmarkNet | None = None, weight: float = 1.0):
        if not isinstance(answers, Answers):
            raise wrong("answers", answers, "a result of kd_loss.record")
        if network is not None and not isinstance(network, LandmarkNet | TappedModel):
            raise wrong("network", network, "kd_loss.load_network(path)")
        super().__init__(answers.landmarks.shape[2:], _weight(weight))
        self.answers, self.network = answers, network

    def __call__(self, images: Tensor, answers: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        for tap in self.answers.taps:
            if answers is None or tap not in answers:
                raise UserError(
                    f"the batches have no '{tap}' of a recorded teacher: make the dataset by kd_loss.with_answers"
                )
        assert answers is not None
        return {tap: ops.cast(answers[tap], "float32") for tap in self.answers.taps}

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Shape of the recorded tap."""
        if tap not in self.answers.taps:
            recorded = ", ".join(self.answers.taps)
            both = ", ".join(f'"{name}"' for name in [*self.answers.taps, tap])
            raise UserError(f"of a recorded teacher there is {recorded}, not '{tap}': kd_loss.record(…, taps=({both}))")
        return tuple(self.answers.taps[tap].shape[2:])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Head of its network; raises a `UserError` for another runtime, whose head is unknown."""
        return super().head_weights() if self.network is None else self.network.head_weights()


def as_teacher(
    value: Any, *, size: int | None, coordinates: Coordinates | str | tuple[float, float] = "normalised"
) -> Teacher:
    """Convert any supported value to a `Teacher`.

    Args:
        value: a `Teacher`; a `LandmarkNet`; a Keras model; the path of a network (`.h5` and `.keras`, with or without a
            card, `.onnx`, `.tflite`, `.pt`, `.pt2`, `file.py:function`); a function, see `FunctionTeacher`; recorded
            `Answers`.
        size: side of the student's images in pixels, for functions and models that take any size.
        coordinates: unit of the landmarks of Keras models and functions, `pixels` of their own input; a card states
            its own, and `file.py:function` returns normalised landmarks.

    Raises:
        UserError: it is none of these, or its file does not load.
    """
    if isinstance(value, Teacher):
        return value
    if isinstance(value, Answers):
        return RecordedTeacher(value)
    if isinstance(value, LandmarkNet | TappedModel):
        return LiveTeacher(value)
    if isinstance(value, keras.Model):
        return LiveTeacher(value, coordinates=coordinates, image_size=size)
    if isinstance(value, str | Path):
        return _from_file(str(path_of(value, "a teacher")), size, coordinates)
    if callable(value):
        if not size:
            raise UserError("a teacher that is a function needs the size of the images: image_size=…")
        return FunctionTeacher(value, size, coordinates=coordinates)
    raise UserError(f"a teacher is a Keras model, a file, a function or recorded answers, not {type(value).__name__}")


def class_to_make(teacher: Teacher) -> str:
    """What a user calls to give this kind of teacher settings of its own, in messages."""
    if isinstance(teacher, RecordedTeacher):
        return "kd_loss.record a LiveTeacher"
    return "FunctionTeacher" if isinstance(teacher, FunctionTeacher) else "LiveTeacher"


def scaled_pictures(images: Tensor, as_bytes: bool, image_range: tuple[float, float]) -> Tensor:
    """Images (B, S, S, 3) as a network takes them, float32: of 0…255, or unchanged.

    Args:
        images: images (B, S, S, 3) of any numeric type.
        as_bytes: whether the network takes 0…255.
        image_range: values of black and white in the dataset's images.
    """
    images, (low, high) = ops.cast(images, "float32"), image_range
    return images if not as_bytes or (low, high) == (0.0, 255.0) else (images - low) * (255 / (high - low))


def _from_file(text: str, size: int | None, coordinates: Coordinates | str | tuple[float, float]) -> Teacher:
    from kd_loss.networks.landmark_net import load_network
    from kd_loss.networks.weights_file import load_plain_model
    from kd_loss.training.teachers.foreign import in_other_runtime, open_teacher

    if in_other_runtime(text):
        opened = open_teacher(text)
        if opened.context != 1:
            raise UserError(
                f"{text} needs more than a crop (the context of its card), which only a prepared dataset has: "
                "train-student --teacher-mode cached"
            )
        if not (opened.size or size):
            raise UserError(f"{text} needs the size of the images: image_size=…")
        return FunctionTeacher(opened, opened.size or size or 0)
    path = Path(text)
    if path.with_suffix(".json").is_file() or not path.is_file():
        return LiveTeacher(load_network(path))
    return LiveTeacher(load_plain_model(path), coordinates=coordinates, image_size=size)


def _weight(weight: float) -> float:
    return number_of(weight, "weight", 1e-9, wanted="a positive number")


def _map_points(point_map: Sequence[int] | Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    return point_map(points) if callable(point_map) else ops.take(points, list(point_map), axis=1)


def _mapped_shape(point_map: Sequence[int] | Callable[[Tensor], Tensor], shape: tuple[int, int]) -> tuple[int, int]:
    if not callable(point_map):
        indices = list_of(point_map, "point_map", "a list of whole numbers, or a function")
        if not indices or not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in indices):
            raise wrong("point_map", point_map, "a list of whole numbers, or a function")
        point_map = indices
    if not callable(point_map) and any(not 0 <= index < shape[0] for index in point_map):
        raise UserError(f"point_map has indices beyond the teacher's {shape[0]} points")
    mapped = _map_points(point_map, ops.zeros((1, *shape)))
    return int(mapped.shape[1]), int(mapped.shape[2])
