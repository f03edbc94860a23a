"""Plain datasets, as Keras's `fit` takes them: detection of the kind, batches in order, and accompanying answers.

A plain dataset is arrays, `(images, landmarks)` or `(images, landmarks, sample_weight)` or the images alone; a
`tf.data.Dataset`, batched or not; a `PyDataset`; or any re-iterable object that yields batches `(images, …)`.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kd_loss.datasets.transform import Answers
from kd_loss.system.arguments import table_of
from kd_loss.system.errors import UserError


def is_tf_data(dataset: Any) -> bool:
    """Whether it is a `tf.data.Dataset`, determined without importing TensorFlow."""
    return hasattr(dataset, "element_spec") and hasattr(dataset, "as_numpy_iterator")


def is_arrays(dataset: Any) -> bool:
    """Whether it is an array of images, or a tuple that begins with one."""
    return hasattr(dataset, "shape") or (isinstance(dataset, tuple) and bool(dataset) and hasattr(dataset[0], "shape"))


def check_plain(dataset: Any) -> None:
    """Raise `UserError` if the dataset cannot be iterated twice, in the same order, to its end."""
    if hasattr(dataset, "__next__"):
        raise UserError("a generator can be iterated only once: give arrays, tf.data, a PyDataset or a list")
    if isinstance(dataset, keras.utils.PyDataset):
        endless = dataset.num_batches is None
    else:
        endless = is_tf_data(dataset) and int(dataset.cardinality()) == -1
    if endless:
        raise UserError("the dataset is infinite: call repeat() later")
    if not (is_arrays(dataset) or hasattr(dataset, "__iter__") or isinstance(dataset, keras.utils.PyDataset)):
        raise UserError(f"a dataset is arrays, tf.data, a PyDataset or batches, not {type(dataset).__name__}")


def picture_batches(dataset: Any, batch_size: int = 32) -> Iterator[np.ndarray]:
    """Yield the images (B, S, S, 3) of a plain dataset in order; arrays and unbatched `tf.data` use `batch_size`.

    Raises:
        UserError: a batch has no images of this shape.
    """
    check_plain(dataset)
    batches: Any = dataset
    if is_arrays(dataset):
        whole = dataset if hasattr(dataset, "shape") else dataset[0]
        batches = (whole[start : start + batch_size] for start in range(0, len(whole), batch_size))
    elif isinstance(dataset, keras.utils.PyDataset):
        batches = (dataset[index] for index in range(dataset.num_batches or 0))
    elif is_tf_data(dataset):
        batches = (dataset if is_batched(dataset) else dataset.batch(batch_size)).as_numpy_iterator()
    for batch in batches:
        images = to_numpy(batch[0] if isinstance(batch, tuple | list) and len(batch) else batch)
        if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
            what = images.shape or f"a {type(batch).__name__}"
            raise UserError(f"the images of a batch are {what}, not (B, S, S, 3)")
        yield images


def is_batched(dataset: Any) -> bool:
    """Whether the elements of a `tf.data.Dataset` are batches of images."""
    spec = dataset.element_spec
    first = spec[0] if isinstance(spec, tuple | list) else spec
    return getattr(first, "shape", None) is None or first.shape.rank != 3


def to_numpy(value: Any) -> np.ndarray:
    """Convert an array of any library to NumPy."""
    return np.asarray(value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value))


def picture_checksums(images: np.ndarray) -> np.ndarray:
    """Return checksums (B,) uint32 of the images, equal for uint8 and float32 of the same values."""
    return np.array([zlib.crc32(np.ascontiguousarray(image, np.float32).tobytes()) for image in images], np.uint32)


def with_answers(dataset: Any, answers: Mapping[str, Answers]) -> Any:
    """Return a dataset of the same kind with the teachers' recorded answers for each face, for a `Distiller`.

    Its targets are dictionaries: `landmarks`, and `role/tap` of each teacher, e.g. `tough/landmarks`. Attach answers
    to the recorded dataset before it is repeated, augmented or shuffled: rows are matched by their order, and a
    batch whose images differ from the recorded ones is refused when it is read.

    Args:
        dataset: `(images, landmarks)` or `(images, landmarks, sample_weight)` as arrays; a `tf.data.Dataset` of such
            batches or single faces; a `PyDataset`; or a list of batches. Landmarks may be in any coordinates, also
            inside a dictionary.
        answers: role -> the result of `kd_loss.record` on this dataset.

    Returns:
        A dataset of the same kind; for arrays a tuple to pass to `Distiller.fit` as one argument.

    Raises:
        UserError: the numbers of faces or the images differ, or there are no landmarks.

    Example:
        >>> answers = kd_loss.record(teacher, dataset, "answers")                           # doctest: +SKIP
        >>> training = kd_loss.with_answers(dataset, {"tough": answers}).shuffle(100)       # doctest: +SKIP
        >>> distiller = kd_loss.Distiller(student=student, teachers={"tough": answers},
        ...                               methods=[kd_loss.methods.PlainKD()])                   # doctest: +SKIP
        >>> distiller.fit(training, epochs=50)                                              # doctest: +SKIP
    """
    check_plain(dataset)
    rows = _Rows(answers)
    if is_arrays(dataset):
        return rows.attached(0, dataset, last=True)
    if is_tf_data(dataset):
        return _tf_data(dataset, rows)
    if isinstance(dataset, keras.utils.PyDataset):
        return _AnsweredDataset(dataset, rows)
    return _AnsweredBatches(dataset, rows)


class _Rows:
    """The answers of all teachers, by the rows of a dataset."""

    def __init__(self, answers: Mapping[str, Answers]):
        if not table_of(answers, "answers", "role -> the result of kd_loss.record"):
            raise UserError("with_answers takes role -> answers, e.g. {'tough': answers}")
        for role, one in answers.items():
            if not isinstance(one, Answers):
                raise UserError(f"the {role} teacher's answers are a {type(one).__name__}; kd_loss.record returns them")
            if one.views or one.landmarks.shape[0] != 1:
                raise UserError(f"the {role} teacher's answers are for augmented faces, not for a plain dataset")
        self.answers = answers
        self.arrays = {f"{role}/{tap}": a[0] for role, one in answers.items() for tap, a in one.taps.items()}
        counts = {role: one.landmarks.shape[1] for role, one in answers.items()}
        if len(set(counts.values())) > 1:
            counted = ", ".join(f"{role} {count}" for role, count in counts.items())
            raise UserError(f"the answers cover different numbers of faces: {counted}")
        self.count = next(iter(counts.values()))

    def check(self, start: int, images: np.ndarray, last: bool = False) -> None:
        """Raise if the images from `start` on differ from the recorded ones, or are too many or too few."""
        stop = start + len(images)
        if stop > self.count or (last and stop < self.count):
            more = "more" if stop > self.count else f"{stop}"
            raise UserError(f"the dataset has {more} faces, the answers cover {self.count}: record this dataset")
        for role, one in self.answers.items():
            if one.pictures is not None and (picture_checksums(images) != one.pictures[start:stop]).any():
                raise UserError(
                    f"the images from face {start} on differ from those that the {role} teacher was recorded on: "
                    "attach the answers before shuffling and augmenting"
                )

    def of(self, start: int, count: int) -> dict[str, np.ndarray]:
        """Return `role/tap` -> (count, …)."""
        return {key: array[start : start + count] for key, array in self.arrays.items()}

    def attached(self, start: int, batch: Any, last: bool = False) -> tuple[Any, ...]:
        """Return a batch with its rows of the answers."""
        images, targets, *weights = _parts(batch)
        self.check(start, to_numpy(images), last)
        return (images, {**_as_mapping(targets), **self.of(start, len(images))}, *weights)


def _parts(batch: Any) -> Any:
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3) or batch[1] is None:
        raise UserError("a batch is (images, landmarks) or (images, landmarks, sample_weight)")
    return batch


def _as_mapping(targets: Any) -> Mapping[str, Any]:
    if isinstance(targets, Mapping):
        if "landmarks" not in targets:
            raise UserError(f"the targets of a batch are {', '.join(targets)}: landmarks are missing")
        return targets
    return {"landmarks": targets}


class _AnsweredDataset(keras.utils.PyDataset):
    """A `PyDataset` with answers; every batch but the last has the size of the first."""

    def __init__(self, dataset: keras.utils.PyDataset, rows: _Rows):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset, self.rows = dataset, rows
        batches = dataset.num_batches or 0
        self._size = len(_parts(dataset[0])[0]) if batches else 0
        if batches:
            rows.attached(0, dataset[0])
        if not (batches - 1) * self._size < rows.count <= batches * self._size:
            raise UserError(
                f"the dataset has {batches} batches of {self._size} faces, the answers cover {rows.count}: record "
                "this dataset"
            )

    def __len__(self) -> int:
        return self.dataset.num_batches or 0

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.rows.attached(index * self._size, self.dataset[index], last=index == len(self) - 1)

    def on_epoch_end(self) -> None:
        """Call that of the dataset; if it shuffles there, its next batch is refused."""
        self.dataset.on_epoch_end()


class _AnsweredBatches:
    """Batches of any iterable with answers, on every iteration."""

    def __init__(self, batches: Any, rows: _Rows):
        self.batches, self.rows = batches, rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        start = 0
        for batch in self.batches:
            yield self.rows.attached(start, batch)
            start += len(batch[0])
        self.rows.check(start, np.empty((0,)), last=True)


def _tf_data(dataset: Any, rows: _Rows) -> Any:
    """A `tf.data.Dataset` with answers, read from their memory map batch by batch."""
    import tensorflow as tf

    batched = is_batched(dataset)
    _as_mapping(_parts(dataset.element_spec)[1])
    for first in itertools.islice(dataset.as_numpy_iterator(), 1):
        images = first[0] if batched else first[0][None]
        rows.check(0, images)
        elements, size = int(dataset.cardinality()), len(images)
        if elements >= 0 and not (elements - 1) * size < rows.count <= elements * size:
            faces = f"{elements} batches of {size}" if batched else str(elements)
            raise UserError(f"the dataset has {faces} faces, the answers cover {rows.count}: record this dataset")
    kinds = {key: array.dtype for key, array in rows.arrays.items()}

    def read(start: np.ndarray, images: np.ndarray) -> list[np.ndarray]:
        rows.check(int(start), images)
        return [np.ascontiguousarray(array) for array in rows.of(int(start), len(images)).values()]

    def number(start: Any, element: Any) -> Any:
        count = tf.shape(element[0], out_type=tf.int64)[0] if batched else tf.constant(1, tf.int64)
        return start + count, (start, element)

    def attach(start: Any, element: Any) -> Any:
        images, targets, *weights = element
        values = tf.numpy_function(read, [start, images if batched else images[None]], list(kinds.values()))
        found = {}
        for (key, array), value in zip(rows.arrays.items(), values, strict=True):
            value.set_shape((images.shape[0] if batched else 1, *array.shape[1:]))
            found[key] = value if batched else value[0]
        return (images, {**_as_mapping(targets), **found}, *weights)

    return dataset.scan(tf.constant(0, tf.int64), number).map(attach)
