"""What a teacher needs inside a training step, on every backend of Keras: NumPy functions, and no gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.system.errors import UserError

#: the errors of functions called in steps since `own_errors` was entered
_RAISED: list[UserError] = []


@contextmanager
def own_errors() -> Iterator[None]:
    """A context in which a `UserError` of a function in a step stays one; backends make errors of their own of it."""
    _RAISED.clear()
    try:
        yield
    except Exception:
        if _RAISED:
            raise _RAISED[0] from None
        raise


def call_on_host(
    function: Callable[[np.ndarray], Mapping[str, np.ndarray]], images: Any, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Call a function of NumPy arrays on a batch of images, even if the step is compiled.

    TensorFlow calls back through `tf.numpy_function`, which XLA does not compile; JAX through `jax.pure_callback`.

    Args:
        function: images (B, S, S, 3) -> tap name -> (B, …).
        images: a tensor of the backend.
        shapes: tap name -> its shape without the batch.

    Returns:
        Tap name -> float32 tensor, without gradients.
    """
    names = list(shapes)

    def run(batch: Any) -> tuple[np.ndarray, ...]:
        try:
            answer = function(np.asarray(batch))
        except UserError as error:
            _RAISED.append(error)
            raise
        return tuple(np.asarray(answer[name], np.float32) for name in names)

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        values = tf.numpy_function(run, [images], [tf.float32] * len(names), stateful=False)
        values = list(values) if isinstance(values, list | tuple) else [values]
        for value, name in zip(values, names, strict=True):
            value.set_shape((images.shape[0], *shapes[name]))
    elif backend == "jax":
        import jax

        if not isinstance(images, jax.core.Tracer):  # no step: its exceptions stay what they are
            return {name: ops.convert_to_tensor(value) for name, value in zip(names, run(images), strict=True)}
        results = tuple(jax.ShapeDtypeStruct((images.shape[0], *shapes[name]), np.float32) for name in names)
        values = jax.pure_callback(run, results, jax.lax.stop_gradient(images))
    else:
        values = run(ops.convert_to_numpy(images))
    return {name: ops.convert_to_tensor(value) for name, value in zip(names, values, strict=True)}


def without_gradient() -> AbstractContextManager[Any]:
    """A context whose computations PyTorch does not record; elsewhere `stop_gradient` on the results is enough."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    context: AbstractContextManager[Any] = torch.no_grad()
    return context
