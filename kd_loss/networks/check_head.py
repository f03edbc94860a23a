"""Checks a user's own head on one image before training: finite output, a gradient, a file that loads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np

from kd_loss.system.errors import UserError


def check_head(name: str, model: keras.Model, embedding: str) -> None:
    """Check a network with a user's own head; its weights are restored afterwards.

    Args:
        name: name of the head.
        model: the network, (B, S, S, 3) to (B, N, C).
        embedding: name of the last layer of the backbone.

    Raises:
        UserError: the landmarks are not finite, the backbone or the head does not learn, or the file does not load
            in Keras.
    """
    picture = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:])).astype(np.float32)
    answer = keras.ops.convert_to_numpy(model(picture, training=False))
    if not np.isfinite(answer).all():
        raise UserError(f"the head {name} returns numbers that are not finite for one image")
    trunk = {id(v) for v in keras.Model(model.input, model.get_layer(embedding).output).trainable_variables}
    changed, finite = _trained(model, picture, answer + 1)
    if not finite:
        raise UserError(f"the head {name} has a gradient that is not finite")
    for part, variables in (
        ("the backbone", [i for i, v in enumerate(model.trainable_variables) if id(v) in trunk]),
        ("the head's weights", [i for i, v in enumerate(model.trainable_variables) if id(v) not in trunk]),
    ):
        if variables and not any(changed[i] for i in variables):
            raise UserError(f"the head {name} passes no gradient to {part}: an argmax, a rounding, a constant?")
    _check_file(name, model, picture, answer)


def _trained(model: keras.Model, picture: np.ndarray, target: np.ndarray) -> tuple[list[bool], bool]:
    """Which trainable variables two training steps change, and whether all stay finite; then restores them."""
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.variables]
    try:
        trial = keras.Model(model.input, model.output)
        trial.compile(keras.optimizers.SGD(0.1), loss="mae", jit_compile=False)
        start = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        for _ in range(2):  # a layer that starts at zero passes a gradient only from the second step
            trial.train_on_batch(picture, target)
        after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    changed = [not np.array_equal(a, b) for a, b in zip(start, after, strict=True)]
    return changed, all(np.isfinite(value).all() for value in after)


def _check_file(name: str, model: keras.Model, picture: np.ndarray, answer: np.ndarray) -> None:
    """Check that plain Keras loads the file: with a custom layer or a Lambda only the plug-in could read it."""
    import absl.logging

    from kd_loss.networks.model_file import check_model_file

    foreign = [type(la).__name__ for la in model.layers if not type(la).__module__.startswith("keras.")]
    if foreign:
        raise UserError(
            f"the head {name} has a layer that is not from Keras ({foreign[0]}): its file would not load elsewhere; "
            "build it from Keras's layers and operations"
        )
    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)  # Keras warns at each save that .h5 is a legacy format
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "head.h5"
            try:
                model.save(path, include_optimizer=False)
                check_model_file(path)
                again = keras.models.load_model(path, compile=False, safe_mode=True)
                same = np.allclose(keras.ops.convert_to_numpy(again(picture, training=False)), answer, atol=1e-4)
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160].replace(str(path), "it")
                raise UserError(f"the head {name} writes a file that does not load: {reason}") from None
    finally:
        absl.logging.set_verbosity(level)
    if not same:
        raise UserError(
            f"the head {name} predicts differently after its file is loaded: does it have state outside its weights?"
        )
