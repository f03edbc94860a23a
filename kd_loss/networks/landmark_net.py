"""A landmark network: backbone, global average pooling, dropout, linear head; with named taps.

It is made of Keras's own layers alone, so that its `.h5` file loads in plain Keras without this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from kd_loss.errors import UserError
from kd_loss.files import atomic_file, check_room
from kd_loss.networks.backbones import ARCHITECTURES, build_backbone
from kd_loss.networks.card import Card
from kd_loss.networks.input_scaling import input_scaling, set_input_scaling
from kd_loss.networks.limits import check_maps, within_limits
from kd_loss.networks.model_file import check_model_file

FEATURE_MAPS = {f"P{n}": 2**n for n in (2, 3, 4, 5)}


@dataclass(frozen=True)
class LandmarkNet:
    """A Keras model from pictures (B, S, S, 3), RGB 0…255, to landmarks (B, K, 2), with its card."""

    model: keras.Model
    card: Card

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the outputs that can be asked for."""
        return tuple(self.card.taps)

    def channels(self, tap: str) -> int:
        """The number of channels of a tap: the last axis of its shape."""
        return int(self.tap_model([tap]).output[tap].shape[-1])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel (C, 2K) and bias (2K,) of the linear head on the embedding."""
        kernel, bias = self.model.get_layer("head").get_weights()
        return kernel, bias

    def tap_model(self, names: Iterable[str] = ("landmarks",)) -> keras.Model:
        """A model on the same weights whose output is a dictionary of the named taps."""
        outputs = {}
        for name in dict.fromkeys(names):
            if name not in self.card.taps:
                raise UserError(
                    f"the network {self.card.arch} has no tap '{name}'; it has: {', '.join(self.card.taps)}"
                )
            outputs[name] = self.model.get_layer(self.card.taps[name]).output
        return keras.Model(self.model.input, outputs, name="taps")


def batch_norm_momentum(steps: int) -> float:
    """Momentum of the moving averages for a training of `steps` steps.

    Keras gives MobileNetV2 0.999: after a few thousand steps its averages still remember their initial
    values, and evaluation is nonsense where training looks fine. Here they reach back over a twentieth
    of the training, between 5 and 100 steps.
    """
    return 1 - 1 / min(100.0, max(5.0, steps / 20))


def _named_taps(model: keras.Model, size: int) -> dict[str, str]:
    taps = {"landmarks": "landmarks", "embedding": "embedding"}
    # the last map of each resolution is the richest one; the head's layers have no resolution
    for name, stride in FEATURE_MAPS.items():
        side = -(-size // stride)
        for layer in model.layers:
            shape = layer.output.shape
            if len(shape) == 4 and shape[1] == side and "pad" not in layer.name:
                taps[name] = layer.name
    return taps


def build_network(
    card: Card,
    *,
    pretrained: str = "none",
    dropout: float | None = None,
    momentum: float | None = None,
    mean_shape: np.ndarray | None = None,
    seed: int = 0,
) -> LandmarkNet:
    """Build a network from a card; its taps are filled in.

    Args:
        pretrained: see `backbones.build_backbone`.
        dropout: share of the embedding dropped in training; None takes the architecture's own
            (0.5 for EfficientNet, as in the paper's teachers).
        momentum: of every batch normalisation, see `batch_norm_momentum`; None leaves Keras's.
        mean_shape: (K, 2); the head starts with it as its bias and with small weights, so that the first
            prediction is a face and not noise.
        seed: of the initial weights and of dropout.
    """
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((card.size, card.size, 3), name="image")
    features = build_backbone(card.arch, inputs, card.alpha, pretrained)
    points = card.dataset_spec().points
    rate = ARCHITECTURES[card.arch].dropout if dropout is None else dropout
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
    x = keras.layers.Dropout(rate, seed=seed, name="dropout", dtype="float32")(embedding)
    head = keras.layers.Dense(2 * points, name="head", dtype="float32")
    x = head(x)
    outputs = keras.layers.Reshape((points, 2), name="landmarks", dtype="float32")(x)
    model = keras.Model(inputs, outputs, name="landmark_net")
    if mean_shape is not None:
        kernel, _ = head.get_weights()
        head.set_weights([kernel / 10, np.asarray(mean_shape, np.float32).reshape(-1)])
    if momentum is not None:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
    return LandmarkNet(model, replace(card, taps=_named_taps(model, card.size)))


def take_weights(target: LandmarkNet, source: LandmarkNet) -> str:
    """Copy the weights of another network of the same backbone; a line that says what was taken.

    The size of the input may differ. A head for another number of points is left as it is.
    """
    own = [layer for layer in target.model.layers if layer.weights]
    other = [layer for layer in source.model.layers if layer.weights]
    shapes = [[tuple(w.shape) for w in layer.weights] for layer in own]
    same = [tuple(w.shape) for w in other[-1].weights] == shapes[-1] if other else False
    if [[tuple(w.shape) for w in layer.weights] for layer in other[:-1]] != shapes[:-1]:
        raise UserError(
            f"--init: {source.card.arch} (alpha {source.card.alpha:g}) is not the backbone "
            f"{target.card.arch} (alpha {target.card.alpha:g})"
        )
    for a, b in zip(other, own, strict=True):
        if b is not own[-1] or same:
            b.set_weights(a.get_weights())
    # a network from elsewhere may scale its pictures otherwise, which is no weight of MobileNetV2's
    set_input_scaling(target.model, *input_scaling(source.model))
    taken = f"all {len(own)} layers" if same else f"{len(own) - 1} layers, all but the head"
    return f"started from {source.card.role} {source.card.arch} on {source.card.dataset}: {taken} taken"


def save_network(network: LandmarkNet, path: Path) -> None:
    """Write `<path>.h5` (whole model, without the optimizer) and its card, each atomically."""
    import absl.logging

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)  # Keras calls .h5 a legacy format at every saving
    try:
        with atomic_file(path, ".h5") as temporary:
            check_room(temporary, sum(4 * int(np.prod(v.shape)) + 4096 for v in network.model.variables))
            network.model.save(temporary, include_optimizer=False)
    finally:
        absl.logging.set_verbosity(level)
    network.card.write(path)


def _load_model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        if not any(name in str(error) for name in ("'FixedDropout'", "'swish'")):
            raise
        from kd_loss.networks.efficientnet_package import load_package_model

        return load_package_model(path)


def load_network(path: Path) -> LandmarkNet:
    """Read a `.h5` file with its card; `UserError` for anything that is not such a pair."""
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    card = Card.read(path)
    check_model_file(path)
    try:
        model = within_limits(path, _load_model)
        check_maps(path, model)
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise UserError(f"{path} does not load as a Keras model: {reason}") from None
    points = card.dataset_spec().points
    if model.output_shape != (None, points, 2) or model.input_shape != (None, card.size, card.size, 3):
        raise UserError(
            f"{path} maps {model.input_shape} to {model.output_shape}, but its card says "
            f"{card.size} pixels and {points} points"
        )
    return LandmarkNet(model, card)
