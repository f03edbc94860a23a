"""Custom architectures: registered by a decorator, checked on one image before training."""

from __future__ import annotations

import inspect
import logging
import math
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from kd_loss.networks.architecture import Architecture
from kd_loss.networks.backbones import ARCHITECTURES, arch_name, build_backbone, get_architecture
from kd_loss.networks.graft import graft
from kd_loss.networks.stages import FEATURE_MAPS, last_maps, stage_outputs
from kd_loss.system.arguments import function_of
from kd_loss.system.errors import UserError, check_name, choose, first_line, line_in

log = logging.getLogger(__name__)
_Channels = float | tuple[float, float, float]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Tensor = Any


def register_architecture(
    name: str, *, scaling: tuple[_Channels, _Channels] | None = (1 / 127.5, -1.0), dropout: float = 0.0
) -> Callable[[_Function], _Function]:
    """Register a function as an architecture, available by name to `--arch` and `build_network`.

    The function takes `inputs`, a symbolic batch of square RGB images (B, S, S, 3), and, if it has parameters with
    these names, `alpha` (a width multiplier, `--alpha`) and `pretrained` (`none` or `imagenet`). It returns one of

    * the last feature map (B, h, w, C): the stages are found by their sizes;
    * a dictionary of feature maps by name, `P2` … `P5`, Pn 2ⁿ times smaller than the image;
    * a functional `keras.Model` with either as its output, built on `inputs` or on its own input.

    Custom layers need `@keras.saving.register_keras_serializable()`, so that files of the network can be loaded.

    Example:
        @kd_loss.register_architecture("mine")
        def mine(inputs, alpha=1.0):
            x = inputs
            for channels in (16, 24, 32, 64, 96):
                x = keras.layers.Conv2D(round(channels * alpha), 3, 2, padding="same", use_bias=False)(x)
                x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
            return x

    Args:
        name: for `--arch` and cards.
        scaling: (scale, offset) that the package applies to 0…255 before `inputs`, one number or one per channel;
            −1…1 by default; None: the function gets 0…255.
        dropout: dropout rate of a pooled head's embedding in training.

    Raises:
        UserError: the name is not a plain name, or is that of one of the package's own architectures.
    """
    check_name(name, "an architecture")
    for known, entry in ARCHITECTURES.items():
        if known.lower() == name.lower() and not entry.registered:
            raise UserError(f"'{name}' is a built-in architecture; register yours under another name")

    def decorate(function: _Function) -> _Function:
        function_of(function, f"what stands below @register_architecture('{name}')")
        parameters = inspect.signature(function).parameters
        ARCHITECTURES[name] = Architecture(
            partial(_build, name, function),
            scaling,
            has_alpha="alpha" in parameters,
            dropout=dropout,
            pretrained=("imagenet",) if "pretrained" in parameters else (),
            registered=True,
        )
        return function

    return decorate


def _build(
    name: str, function: Callable[..., Any], input_tensor: _Tensor, weights: str | None = None, **options: Any
) -> keras.Model:
    """Call a user's function on `input_tensor`; returns a functional model."""
    parameters = inspect.signature(function).parameters
    options = {key: value for key, value in options.items() if key in parameters}
    if "pretrained" in parameters:
        options["pretrained"] = weights or "none"
    try:
        result = function(input_tensor, **options)
    except UserError:
        raise
    except Exception as error:
        line = line_in(inspect.getsourcefile(function) or "", error)
        place = f", line {line}" if line else ""
        raise UserError(f"--arch {name}{place}: {type(error).__name__}: {first_line(error)}") from None
    sources = keras.utils.get_source_inputs(input_tensor)
    if isinstance(result, keras.Model):
        own = [id(tensor) for tensor in keras.tree.flatten(getattr(result, "inputs", None) or [])]
        # a model built on `inputs` already includes their scaling
        within = own == [id(tensor) for tensor in sources]
        return graft(result, sources[0] if within else input_tensor, f"--arch {name}")
    maps = result if isinstance(result, Mapping) else {"P5": result}
    for key, tensor in maps.items():
        choose(str(key), FEATURE_MAPS, f"feature map of --arch {name}")
        if not isinstance(tensor, keras.KerasTensor) or len(tensor.shape) != 4:
            raise UserError(
                f"--arch {name} returns {type(tensor).__name__} {getattr(tensor, 'shape', '')}; it has to return a "
                "feature map (B, h, w, C), a dictionary of P2 … P5, or a functional keras.Model"
            )
    try:
        model = keras.Model(sources, dict(result) if isinstance(result, Mapping) else result, name=f"arch_{name}")
    except ValueError as error:
        raise UserError(f"--arch {name}: {first_line(error)}") from None
    return graft(model, sources[0], f"--arch {name}")


def check_architecture(arch: str, size: int, alpha: float = 1.0) -> str:
    """Check an architecture on one image; returns a one-line description.

    Its feature maps must exist, with the sizes that their names imply and a known number of channels; its output must
    be finite; a training step must reach the layer nearest to the input; and after saving and loading it must predict
    the same.

    Args:
        arch: name of the architecture.
        size: side of the image in pixels.
        alpha: width multiplier.

    Raises:
        UserError: the architecture fails a check; the message names it.
    """
    name = arch_name(arch)
    inputs = keras.Input((size, size, 3), name="image")
    backbone = build_backbone(name, inputs, alpha, "none")
    maps = last_maps(backbone)
    if not maps:
        sides = sorted({t.shape[1] for op in backbone.operations for t in keras.tree.flatten(op.output) if _is_map(t)})
        raise UserError(
            f"--arch {name} has no feature map 4, 8, 16 or 32 times smaller than its {size} px; the sides of its maps "
            f"are {', '.join(map(str, sides))}"
        )
    for level, op in maps.items():
        _, height, width, channels = op.output.shape
        if not channels or not height or height != width:
            raise UserError(f"--arch {name}: {level} ({op.name}) is not a square map of known width: {op.output.shape}")
        if (found := 2 ** round(math.log2(size / height))) != FEATURE_MAPS[level]:
            raise UserError(
                f"--arch {name}: {level} is {height} x {height} for {size} px, {found} times smaller instead of "
                f"{FEATURE_MAPS[level]}"
            )
    end = stage_outputs(backbone)["P5"]
    outputs = keras.layers.GlobalAveragePooling2D(name="embedding")(end.output)
    picture = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    model = keras.Model(inputs, outputs)
    answer = keras.ops.convert_to_numpy(model(picture, training=False))
    if not np.isfinite(answer).all():
        raise UserError(f"--arch {name}: its output is not finite for a noise image")
    _check_file(name, model, picture, answer)
    _check_gradient(name, model, picture)
    words = ", ".join(f"{level} {op.output.shape[1]}² x {op.output.shape[3]}" for level, op in maps.items())
    return f"--arch {name}: {backbone.count_params():,} parameters; {words}"


def check_registered(arch: str, size: int, alpha: float) -> None:
    """Check an architecture before training if it is a user's own."""
    if get_architecture(arch).registered:
        log.info(check_architecture(arch, size, alpha))


def _is_map(tensor: _Tensor) -> bool:
    return len(tensor.shape) == 4 and bool(tensor.shape[1])


def _check_file(name: str, model: keras.Model, picture: np.ndarray, answer: np.ndarray) -> None:
    """Save, load and predict again."""
    import absl.logging

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)  # Keras warns at each save that .h5 is a legacy format
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.h5"
            model.save(path, include_optimizer=False)
            again = keras.models.load_model(path, compile=False, safe_mode=True)
            change = np.abs(keras.ops.convert_to_numpy(again(picture, training=False)) - answer).max()
    except Exception as error:
        raise UserError(
            f"--arch {name} cannot be saved and loaded ({first_line(error)}); custom layers need "
            "@keras.saving.register_keras_serializable() and get_config"
        ) from None
    finally:
        absl.logging.set_verbosity(level)
    if not change <= 1e-3 * max(1.0, float(np.abs(answer).max())):
        raise UserError(f"--arch {name} predicts differently after saving and loading, by {change:.3g}")


def _check_gradient(name: str, model: keras.Model, picture: np.ndarray) -> None:
    """Check that one training step changes the weights nearest to the input and keeps all weights finite."""
    layers = [layer for layer in model.layers if layer.trainable_weights]
    if not layers:
        raise UserError(f"--arch {name} has no weights to train")
    before = layers[0].get_weights()
    model.compile(
        keras.optimizers.SGD(1.0), loss="mse", jit_compile=False if keras.backend.backend() == "tensorflow" else "auto"
    )
    target = np.random.default_rng(1).normal(size=(len(picture), *model.output_shape[1:])).astype(np.float32)
    model.train_on_batch(picture, target)
    after = layers[0].get_weights()
    if not all(np.isfinite(weight).all() for weight in after):
        raise UserError(f"--arch {name}: the gradient at {layers[0].name} is not finite")
    if all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
        raise UserError(f"--arch {name}: no gradient reaches {layers[0].name}, its first layer")
