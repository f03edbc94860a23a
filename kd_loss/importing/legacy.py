"""Converts networks of old `.h5` files to this package's networks: same predictions, its conventions.

The backbone is recognised by the shapes of its weights, which are copied layer by layer. Differences of convention
are folded in exactly: the range of the images into the scaling of the input, and the coordinates
into the linear head. `y = out · W + b` becomes `y = out · (m W) + (m b + c)` where `m y + c` turns an old
coordinate into −0.5…0.5 across the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kd_loss.importing.legacy_file import OldFile, OldLayer
from kd_loss.importing.legacy_graph import OldNetwork
from kd_loss.networks.backbones import ARCHITECTURES
from kd_loss.networks.card import Card
from kd_loss.networks.efficientnet_package import MEAN, STD
from kd_loss.networks.input_scaling import set_input_scaling
from kd_loss.networks.landmark_net import LandmarkNet, build_network
from kd_loss.system.errors import UserError

CONVENTIONS = ("kd-loss", "native", "unit", "pixels")
#: scale and offset, per channel, that map 0…255 to a range
RANGES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "bytes": (np.ones(3), np.zeros(3)),
    "unit": (np.full(3, 1 / 255), np.zeros(3)),
    "signed": (np.full(3, 1 / 127.5), np.full(3, -1.0)),
    "imagenet": (1 / (255 * np.array(STD)), -np.array(MEAN) / np.array(STD)),
}

#: (filters of the first convolution, depthwise convolutions, channels of the last map)
_EFFICIENT = {
    (32, 16, 1280): "efficientNetB0",
    (32, 23, 1280): "efficientNetB1",
    (32, 23, 1408): "efficientNetB2",
    (40, 26, 1536): "efficientNetB3",
    (48, 32, 1792): "efficientNetB4",
    (48, 39, 2048): "efficientNetB5",
    (56, 45, 2304): "efficientNetB6",
    (64, 55, 2560): "efficientNetB7",
}
#: MobileNetV2's blocks: output channels at alpha 1
_MOBILE = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
#: published widths first: several alphas can give the same network
_ALPHAS = (1.0, 0.35, 0.5, 0.75, 1.3, 1.4, *(round(0.01 * n, 2) for n in range(10, 201)))


@dataclass(frozen=True)
class Convention:
    """The conventions of an old network.

    Attributes:
        coordinates: `kd-loss` ((c − p) / size with c the centre: inverted signs), `native` (−0.5…0.5 across the
            crop), `unit` (0…1 across it) or `pixels` of the input.
        range: range of the images, one of `RANGES`.
        first_pixel: the coordinate p of the centre of the first pixel, in `kd-loss` and `pixels`: 0.5 where
            a crop of 224 pixels spans 0…224, 0 where pixels are counted by index.
    """

    coordinates: str
    range: str
    first_pixel: float

    def affine(self, size: int) -> tuple[float, float]:
        """`(m, c)` such that `m · old + c` is a coordinate −0.5…0.5 across the crop: `(p − first + 0.5) / size − 0.5`.

        In `kd-loss`, `old = (size / 2 − p) / size`, so that `p = size / 2 − size · old` and the coordinate is
        `−old + (0.5 − first) / size`.
        """
        half = (0.5 - self.first_pixel) / size
        return {
            "kd-loss": (-1.0, half),
            "native": (1.0, 0.0),
            "unit": (1.0, -0.5),
            "pixels": (1.0 / size, half - 0.5),
        }[self.coordinates]


@dataclass(frozen=True)
class Recognised:
    """The parts of an old file: its backbone, its layers in order, and the dense head on its embedding."""

    arch: str
    alpha: float
    backbone: tuple[OldLayer, ...]
    head: OldLayer
    points: int


def recognise(file: OldFile) -> Recognised:
    """Identify backbone and head by the shapes of the weights; a `UserError` describes any other file."""
    kernels = [layer.arrays["kernel"] for layer in file.layers if "kernel" in layer.arrays]
    convolutions = [kernel.shape for kernel in kernels if kernel.ndim == 4]
    dense = [layer for layer in file.layers if "kernel" in layer.arrays and layer.arrays["kernel"].ndim == 2]
    depthwise = [shape[2] for shape in convolutions if shape[3] == 1 and shape[0] > 1]
    what = f"{file}, {len(convolutions)} of them convolutions ({len(depthwise)} depthwise)"
    stems = [shape[3] for shape in convolutions if shape[2] == 3 and shape[3] > 1]
    if len(stems) != 1:
        raise UserError(f"{what}; {len(stems)} of them take RGB images; a supported backbone has one")
    if len(dense) != 1:
        names = ", ".join(layer.name for layer in dense[:5])
        found = f"{len(dense)} dense layers ({names})" if dense else "no dense layer"
        raise UserError(f"{what}, and {found}; a supported landmark network has one, linear, on the pooled last map")
    channels, width = dense[0].arrays["kernel"].shape
    arch, alpha = _EFFICIENT.get((stems[0], len(depthwise), channels), ""), 1.0
    if not arch:
        fitting = [a for a in _ALPHAS if (sorted(depthwise), channels) == _mobile_widths(a)]
        if not fitting:
            raise UserError(f"{what}, and a dense layer on {channels}; neither MobileNetV2 nor EfficientNet B0…B7")
        arch, alpha = "mobileNetV2", fitting[0]
    if width % 2 or width < 4:
        raise UserError(f"{file.path} is a {arch} with {width} outputs, not two for each of several points")
    others = tuple(layer for layer in file.layers if layer is not dense[0] and not _is_normalisation(layer))
    return Recognised(arch, alpha, others, dense[0], width // 2)


def _mobile_widths(alpha: float) -> tuple[list[int], int]:
    """The channels of MobileNetV2's depthwise convolutions, sorted, and of its last map."""

    def divisible(value: float) -> int:
        rounded = max(8, int(value + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * value else rounded

    blocks = [6 * divisible(int(width * alpha)) for width in _MOBILE[:-1]]
    return sorted([divisible(32 * alpha), *blocks]), divisible(1280 * alpha) if alpha > 1 else 1280


def _is_normalisation(layer: OldLayer) -> bool:
    """Whether a layer is the input's `Normalization`, which Keras's own EfficientNet has."""
    return {"mean", "variance"} <= layer.arrays.keys()


def own_scaling(file: OldFile, parts: Recognised, old: OldNetwork | None) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset (3,) that an old network itself applies to its images.

    Raises:
        UserError: the file has weights alone, which do not determine them.
    """
    if old is not None:
        return old.scaling
    for layer in file.layers:
        if not _is_normalisation(layer):
            continue
        if not np.allclose(layer.arrays["mean"], 0) or not np.allclose(layer.arrays["variance"], 1):
            raise UserError(
                f"{file.path} has only the weights of Keras's {parts.arch} started from ImageNet, and versions of "
                "Keras scale its images differently; save the whole model instead (model.save)"
            )
        return RANGES["unit"]  # Keras's own rescales by 1/255 before it
    return RANGES["bytes"]


def convert(
    file: OldFile, parts: Recognised, convention: Convention, scaling: tuple[np.ndarray, np.ndarray], card: Card
) -> LandmarkNet:
    """A network with the old weights that takes RGB 0…255 and returns −0.5…0.5.

    Args:
        file: the old file.
        parts: what was recognised in it: backbone, head, number of points.
        convention: the meaning of the old network's coordinates.
        scaling: see `own_scaling`.
        card: card of the new network, with the backbone of `parts`.

    Raises:
        UserError: a weight is missing, or its shape differs from that of the recognised network.
    """
    network = build_network(card)
    own = [layer for layer in network.model.layers if layer.weights and layer.name != "head"]
    _assign(file.path, parts, own)
    (scale, offset), (own_scale, own_offset) = RANGES[convention.range], scaling
    if not (own_scale * scale > 0).all():
        raise UserError(f"{file.path} scales its images by {own_scale}, which is not positive")
    set_input_scaling(network.model, own_scale * scale, own_scale * offset + own_offset)
    kernel, bias = _head(parts)
    m, c = convention.affine(card.size)
    network.model.get_layer("head").set_weights([(m * kernel).astype(np.float32), (m * bias + c).astype(np.float32)])
    return network


def _head(parts: Recognised) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (C, 2K) and bias (2K,) of the old head, float64; a missing bias becomes zeros."""
    kernel = parts.head.arrays["kernel"].astype(np.float64)
    return kernel, parts.head.arrays.get("bias", np.zeros(kernel.shape[1])).astype(np.float64)


def _assign(path: Path, parts: Recognised, layers: Sequence[keras.Layer]) -> None:
    """Copy the backbone's weights into Keras's layers, by name if all names match, otherwise in order."""
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Normalization)]
    named = {layer.name: layer for layer in parts.backbone}
    names = [layer.name for layer in layers]
    if len(named) != len(layers):
        raise UserError(f"{path}: {len(named)} layers with weights before the head; {parts.arch} has {len(layers)}")
    by_name = named.keys() == set(names)
    for position, (layer, other) in enumerate(zip(layers, parts.backbone, strict=True)):
        old = named[layer.name] if by_name else other
        if old.name in names and old.name != layer.name:
            raise UserError(f"{path}: {old.name} is layer {position + 1}, where {parts.arch} has {layer.name}")
        wanted = {weight.name: tuple(weight.shape) for weight in layer.weights}
        found = {kind: array.shape for kind, array in old.arrays.items()}
        if wanted != found:
            raise UserError(f"{path}: {old.name} has weights {found}; {layer.name} of {parts.arch} has {wanted}")
        layer.set_weights([old.arrays[weight.name] for weight in layer.weights])


def plain_network(path: Path, parts: Recognised, size: int) -> keras.Model:
    """The old network of a weights-only file, directly from `keras.applications`, for comparison.

    It takes the input of the first convolution, and returns the old coordinates (B, 2K).
    """
    architecture = ARCHITECTURES[parts.arch]
    options = {"alpha": parts.alpha} if architecture.has_alpha else {}
    backbone = architecture.build(input_shape=(size, size, 3), include_top=False, weights=None, **options)
    _assign(path, parts, [layer for layer in backbone.layers if layer.weights])
    normalisation = [la.output for la in backbone.layers if isinstance(la, keras.layers.Normalization)]
    kernel, bias = _head(parts)
    head = keras.layers.Dense(len(bias))
    outputs = head(keras.layers.GlobalAveragePooling2D()(backbone.output))
    head.set_weights([kernel, bias])
    return keras.Model(normalisation[0] if normalisation else backbone.input, outputs)
