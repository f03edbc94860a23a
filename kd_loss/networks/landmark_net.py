"""A landmark network: a backbone, whole or cut, and a head, with named taps.

It is built from Keras's own layers only, so that its `.h5` file loads in plain Keras without this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd_loss.networks import pixel_in_pixel, simcc  # noqa: F401 (the heads `pip` and `simcc`)
from kd_loss.networks.backbones import arch_name, build_backbone, get_architecture
from kd_loss.networks.card import Card
from kd_loss.networks.check_head import check_head
from kd_loss.networks.head_registry import HEADS, HeadInputs, build_head, register_head
from kd_loss.networks.heads import spread
from kd_loss.networks.input_scaling import input_scaling, set_input_scaling
from kd_loss.networks.stages import FEATURE_MAPS, cut_backbone, operation
from kd_loss.networks.unets import ANTI_ALIAS
from kd_loss.networks.visibility import visibility_output
from kd_loss.networks.weights_file import check_exists, load_plain_model, save_with_card
from kd_loss.system.arguments import path_of
from kd_loss.system.errors import UserError, choose

#: momentum of every batch normalisation; its averages are recomputed before use (`training.statistics`)
MOMENTUM = 0.9
#: the taps of the package's own networks; `spread` and, unless the head is pooled, `embedding` are built on demand;
#: a custom head may have others
TAPS = (
    *("landmarks", "embedding", "heatmaps", "bins_x", "bins_y", "scores", "offsets_x", "offsets_y", "spread"),
    "visibility",
    *FEATURE_MAPS,
)
#: names of the tap of the target: of points, of poses
TARGETS = ("landmarks", "target")
__all__ = ["HEADS", "LandmarkNet", "build_network", "load_network", "register_head", "save_network", "take_weights"]


@dataclass(frozen=True)
class LandmarkNet:
    """A Keras model from images (B, S, S, 3), RGB 0…255, to targets (B, N, C), with its card.

    With `card.visibility` the model has a second output, (B, K) 0…1: how likely each landmark is visible.

    The tap and the layer of the target are `landmarks`, those of a pose `target`. As methods read the student's target
    as `landmarks`, whatever it is, `tap_model` takes either name; in files of 0.1 both kinds have `landmarks`.
    """

    model: keras.Model
    card: Card

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.card.size

    @property
    def target_shape(self) -> tuple[int, int]:
        """(N, C) of its target: (K, 2) for K landmarks."""
        return self.card.scheme().shape

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the available outputs."""
        return tuple(self.card.taps)

    def _place(self, tap: str) -> str:
        """The layer of a tap; raises a `UserError` for a tap that the network does not have."""
        layers = self.card.taps
        for name in (tap, *(TARGETS if tap in TARGETS else ())):
            if name in layers:
                return layers[name]
        raise UserError(
            f"the network {self.card.arch} with its {self.card.head} head has no tap '{tap}'; it has: "
            f"{', '.join(layers)}"
        )

    def channels(self, tap: str) -> int:
        """The number of channels of a tap: the last axis of its shape."""
        return int(self.tap_model([tap]).output[tap].shape[-1])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel (C, 2K) and bias (2K,) of the linear head on the embedding; raises a `UserError` without one."""
        if self.card.head != "pooled":
            raise UserError(
                f"a {self.card.head} head of {self.card.arch} is not a linear layer on the embedding, which srrl needs"
            )
        kernel, bias = self.model.get_layer("head").get_weights()
        return kernel, bias

    @property
    def has_spread(self) -> bool:
        """Whether its head predicts a distribution for each landmark, with `spread` as its width."""
        head = HEADS.get(self.card.head)
        return head is not None and head.second_moment is not None

    def export_model(self) -> keras.Model:
        """The model to export: landmarks (B, K, 2) and, if the network has them, a second output.

        It is the spread (B, K) of the head's distributions; the visibility (B, K); or both, (B, 2K), in this order.
        """
        more = [spread(self.model, self.card.head)] if self.has_spread else []
        more += [self.model.get_layer("visibility").output] if self.card.visibility else []
        if not more:
            return self.model
        second = more[0] if len(more) == 1 else keras.layers.Concatenate(name="spread_and_visibility")(more)
        landmarks = self.model.get_layer(self.card.taps["landmarks"]).output
        return keras.Model(self.model.input, [landmarks, second], name="landmark_net")

    def tap_model(self, names: Iterable[str] = ("landmarks",)) -> keras.Model:
        """A model with shared weights that returns a dictionary of the named taps."""
        outputs = {}
        for name in dict.fromkeys(names):
            place = self._place(name)
            if name == "spread" and self.has_spread:
                outputs[name] = spread(self.model, self.card.head)
                continue
            output = operation(self.model, place).output
            if name == "embedding" and len(output.shape) == 4:  # the input of a pooled head
                output = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(output)
            outputs[name] = output
        return keras.Model(self.model.input, outputs, name="taps")


def build_network(
    card: Card,
    *,
    pretrained: str = "none",
    dropout: float | None = None,
    mean_shape: np.ndarray | None = None,
    seed: int = 0,
) -> LandmarkNet:
    """Build a network from a card; its taps are filled in.

    Args:
        card: the card: architecture, head, size and scheme.
        pretrained: see `backbones.build_backbone`.
        dropout: dropout rate of a pooled head's embedding in training; None uses the architecture's default (0.5 for
            EfficientNet, as in the paper's teachers).
        mean_shape: (N, C), the mean target, from which a pooled head starts, see `heads.pooled_head`.
        seed: seed of the initial weights and of dropout.
    """
    card = replace(card, head=choose(card.head, HEADS, "head", "; one of your own is known by --plugin FILE"))
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((card.size, card.size, 3), name="image")
    card = replace(card, arch=arch_name(card.arch))
    architecture = get_architecture(card.arch)
    backbone = build_backbone(card.arch, inputs, card.alpha, pretrained)
    scheme = card.scheme()
    head = HEADS[card.head]
    if head.points_only and scheme.shape[1] != 2:
        what = "heatmaps are" if card.head == "heatmap" else f"a {card.head} head is"
        raise UserError(f"{what} of points in a plane; for a {scheme.noun} give --head pooled")
    own_maps = architecture.own_maps
    if own_maps and card.head != "heatmap":
        raise UserError(f"{card.arch} outputs maps, which a {card.head} head would discard; give --head heatmap")
    # from stride 4 upwards: finer heatmaps cost more than they gain
    end, maps = cut_backbone(backbone, "P5" if own_maps else card.cut)
    if own_maps:
        card = replace(card, cut="P5")
    given = HeadInputs(
        features=end.output,
        maps={name: layer.output for name, layer in maps.items()},
        shape=scheme.shape,
        size=card.size,
        width=card.alpha,
        dropout=architecture.dropout if dropout is None else dropout,
        seed=seed,
        mean_shape=mean_shape,
        own_maps=own_maps,
    )
    outputs = build_head(card.head, given)
    model = keras.Model(inputs, outputs["landmarks"], name="landmark_net")
    if end not in model.layers:
        raise UserError(
            f"the head {card.head} does not use the end of the backbone: build it from inputs.features; "
            "--output-stride and register_head(…, cut=…) define where that ends"
        )
    layers = _layers_of(card.head, model, outputs)
    taps = {scheme.array: layers.pop("landmarks"), "embedding": end.name, **layers}
    if head.second_moment is not None:
        taps["spread"] = "probabilities"
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    if head.own:
        check_head(card.head, model, end.name)
    if card.visibility:
        visible = visibility_output(model, end.output, scheme.shape[0], card.head)
        model = keras.Model(inputs, [outputs["landmarks"], visible], name="landmark_net")
        taps["visibility"] = "visibility"
    return LandmarkNet(model, replace(card, taps={**taps, **{name: layer.name for name, layer in maps.items()}}))


def _layers_of(head: str, model: keras.Model, outputs: dict[str, Any]) -> dict[str, str]:
    """Tap -> the name of the layer that makes it."""
    layers = {}
    for tap, tensor in outputs.items():
        name = next((layer.name for layer in model.layers if layer.output is tensor), None)
        if name is None:
            raise UserError(
                f"the head {head} computes '{tap}' off the path to its landmarks; such outputs are not saved"
            )
        layers[tap] = name
    return layers


def take_weights(target: LandmarkNet, source: LandmarkNet) -> str:
    """Copy the weights shared with another network of the same backbone; returns a line that describes them.

    Layers are matched by name. The networks may differ in input size, trunk length and kind of head; a head for
    another number of points is unchanged. Raises a `UserError` if a layer of the backbone has another shape, or no
    layer matches.
    """
    own = {layer.name: layer for layer in target.model.layers if layer.weights}
    trunk = set(_backbone_layers(target))
    taken = []
    for layer in source.model.layers:
        mine = own.get(layer.name)
        if not layer.weights or mine is None or isinstance(layer, keras.layers.Normalization):
            continue  # the scaling of the pixels follows below
        if layer.name == ANTI_ALIAS or not mine.trainable_weights:
            continue  # determined by the size or by the head, like the positions of its cells
        weights = layer.get_weights()
        if isinstance(mine, keras.layers.DepthwiseConv2D) and getattr(layer, "groups", 1) > 1:
            weights[0] = weights[0].transpose(0, 1, 3, 2)  # ConvNeXt as it was built before it had such layers
        if [w.shape for w in weights] == [tuple(w.shape) for w in mine.weights]:
            mine.set_weights(weights)
            taken.append(layer.name)
        elif layer.name in trunk:
            taken = []
            break
    if not trunk & set(taken):
        raise UserError(
            f"--init: {source.card.arch} (alpha {source.card.alpha:g}) is not the backbone "
            f"{target.card.arch} (alpha {target.card.alpha:g})"
        )
    # a third-party network may scale its input differently, which in MobileNetV2 is not a weight
    set_input_scaling(target.model, *input_scaling(source.model))
    rest = [name for name in own if name not in taken and own[name].trainable]
    what = f"all {len(taken)} layers" if not rest else f"{len(taken)} layers, all but {_summary(rest)}"
    return f"started from {source.card.role} {source.card.arch} on {source.card.dataset}: {what} taken"


def _backbone_layers(network: LandmarkNet) -> list[str]:
    """The names of the layers below the head."""
    end = network.model.get_layer(network.card.taps["embedding"]).output
    return [layer.name for layer in keras.Model(network.model.input, end).layers if layer.weights]


def _summary(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]} ({len(names)})"


def save_network(network: LandmarkNet, path: Path) -> None:
    """Write a `.h5` or `.keras` file (whole model, without the optimizer) and its card, each atomically."""
    save_with_card(network.model, network.card, path)


def load_network(path: str | os.PathLike[str]) -> LandmarkNet:
    """Load a `.h5` or `.keras` file with its card; raises a `UserError` for anything else."""
    path = path_of(path, "path")
    check_exists(path)
    card = Card.read(path)
    model = load_plain_model(path, card)
    scheme = card.scheme()
    wanted: object = (None, *scheme.shape)
    if card.visibility:
        wanted = [wanted, (None, scheme.shape[0])]
    if model.output_shape != wanted or model.input_shape != (None, card.size, card.size, 3):
        raise UserError(
            f"{path} maps {model.input_shape} to {model.output_shape}, but its card states "
            f"{card.size} pixels and {scheme.shape[0]} points"
        )
    return LandmarkNet(model, card)
