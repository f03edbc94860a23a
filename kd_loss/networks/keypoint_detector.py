"""A keypoint detector: any network with feature maps, plus a heatmap and four Jacobian maps per keypoint.

As in `modules/keypoint_detector.py` of first-order-model (Siarohin et al., NeurIPS 2019; MIT). Built from Keras's own
layers only, so that its `.h5` file loads in plain Keras.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from kd_loss.networks.backbones import arch_name, build_backbone, get_architecture, is_known
from kd_loss.networks.card import Card, WeightsCard
from kd_loss.networks.heads import decoder_features
from kd_loss.networks.landmark_net import LandmarkNet, load_network
from kd_loss.networks.stages import cut_backbone, operation
from kd_loss.networks.unets import ANTI_ALIAS, ENCODER
from kd_loss.networks.weights_file import check_exists, load_plain_model, save_with_card
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json

L = keras.layers

#: divisor of a heatmap's logits before the softmax, which it sharpens
TEMPERATURE = 0.1
#: side of the kernels of the two heads, without padding
KERNEL = 7
OUTPUTS = ("keypoints", "jacobians", "heatmaps")

_Tensor = Any


@dataclass(frozen=True)
class KeypointCard(WeightsCard):
    """The inputs and training of a detector: `best.json` beside `best.h5`.

    Attributes:
        points: K; size: side of the input in pixels.
        crop: the central fraction of a frame that it was trained on.
        stride: of the two heads' convolutions; 1 as published, 2 for a quarter of their cost and heatmaps of 29².
        training, metrics: as in `networks.Card`.
    """

    points: int
    size: int
    crop: float = 1.0
    stride: int = 1
    kind: str = "keypoints"
    inputs: str = "RGB, 0…255, (B, size, size, 3)"
    outputs: str = "keypoints (B, K, 2) as (x, y), −1…1 across the image, and Jacobians (B, K, 2, 2)"
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Self:
        """A card from plain values; malformed ones and landmark cards raise a `UserError` that starts with `where`."""
        if values.get("kind") != "keypoints":
            raise UserError(f"{where} is not the card of a keypoint detector; kd-loss train-keypoints trains one")
        numbers = [values.get(name) for name in ("alpha", "points", "size", "crop", "stride")]
        sound = all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n <= 1024 for n in numbers)
        sound = sound and all(isinstance(values.get(name), int) for name in ("points", "size", "stride"))
        if not sound or not is_known(values.get("arch")):
            raise UserError(f"{where} is malformed")
        return cls._of_known(values)


@dataclass(frozen=True)
class KeypointDetector:
    """A Keras model from images (B, S, S, 3), RGB 0…255, to a dictionary of `OUTPUTS`, with its card."""

    model: keras.Model
    card: KeypointCard

    def find(self, images: np.ndarray) -> np.ndarray:
        """Predict keypoints (N, K, 2) of images (N, S, S, 3), RGB 0…255."""
        parts = [images[i : i + 64].astype(np.float32) for i in range(0, len(images), 64)]
        return np.concatenate([keras.ops.convert_to_numpy(self.model(p, training=False)["keypoints"]) for p in parts])

    def trunk(self) -> keras.Model:
        """The network below the two heads: images -> maps (B, s, s, C)."""
        return keras.Model(self.model.input, self.model.get_layer("keypoint_maps").input, name="trunk")

    def export_model(self) -> keras.Model:
        """The model to export: keypoints (B, K, 2) and Jacobians (B, K, 2, 2)."""
        return keras.Model(self.model.input, [self.model.output[name] for name in OUTPUTS[:2]], name="detector")

    def with_encoder(self) -> keras.Model:
        """The same model with the encoder's output (B, h, w, C) as `encoder` among its outputs."""
        outputs = {name: self.model.output[name] for name in OUTPUTS}
        return keras.Model(self.model.input, {**outputs, "encoder": self._encoder().output}, name="with_encoder")

    def _encoder(self) -> keras.Layer:
        if "encoder" not in self.card.training:  # an architecture with a fine enough output
            return self.model.get_layer(ENCODER)
        return operation(self.model, self.card.training["encoder"])


def places(height: int, width: int) -> np.ndarray:
    """The grid of a heatmap's cells, (h·w, 2) float32 as (x, y), from −1 at the first to 1 at the last one.

    >>> places(1, 3)[:, 0].tolist()
    [-1.0, 0.0, 1.0]
    """
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def keypoint_heads(maps: _Tensor, points: int, stride: int = 1) -> dict[str, _Tensor]:
    """Keypoints (B, K, 2), Jacobians (B, K, 2, 2) and heatmaps (B, h, w, K) that sum to 1, from maps (B, s, s, C).

    H = softmax(logits / 0.1) over the cells, kp = Σ_z H(z)·z, J = Σ_z H(z)·map(z) over four maps whose convolution
    starts at the identity: kernel 0, bias (1, 0, 0, 1).
    """
    identity = np.tile([1.0, 0.0, 0.0, 1.0], points)
    logits = L.Conv2D(points, KERNEL, stride, name="keypoint_maps", dtype="float32")(maps)
    four = L.Conv2D(4 * points, KERNEL, stride, kernel_initializer="zeros", name="jacobian_maps", dtype="float32")
    slopes = four(maps)
    four.set_weights([four.get_weights()[0], identity.astype(np.float32)])
    _, height, width, _ = logits.shape
    cells = height * width
    x = L.Reshape((cells, points), name="cells", dtype="float32")(logits)
    x = L.Permute((2, 1), name="cells_last", dtype="float32")(x)
    x = L.Rescaling(1 / TEMPERATURE, name="temperature", dtype="float32")(x)
    chances = L.Softmax(axis=-1, name="probabilities", dtype="float32")(x)
    grid = L.Dense(2, use_bias=False, trainable=False, name="keypoints", dtype="float32")
    keypoints = grid(chances)
    grid.set_weights([places(height, width)])
    back = L.Permute((2, 1), name="cells_first", dtype="float32")(chances)
    weights = L.Reshape((cells, points, 1), name="weights_of_cells", dtype="float32")(back)
    slopes = L.Reshape((cells, points, 4), name="slopes", dtype="float32")(slopes)
    x = L.Multiply(name="weighted", dtype="float32")([slopes, weights])
    x = L.Reshape((cells, 4 * points), name="weighted_cells", dtype="float32")(x)
    x = L.GlobalAveragePooling1D(name="mean_slope", dtype="float32")(x)
    x = L.Rescaling(float(cells), name="sum_of_cells", dtype="float32")(x)
    return {
        "keypoints": keypoints,
        "jacobians": L.Reshape((points, 2, 2), name="jacobians", dtype="float32")(x),
        "heatmaps": L.Reshape((height, width, points), name="heatmaps", dtype="float32")(back),
    }


def build_detector(card: KeypointCard, seed: int = 0) -> KeypointDetector:
    """A detector with random weights.

    `hourglass` and `squeezeUNet` are as published; another architecture is cut at stride 16 and gets the light decoder
    of `networks.heads`, with maps padded so that the heatmaps keep their size (16 × 16 for 64 px).
    """
    keras.utils.set_random_seed(seed)
    arch = arch_name(card.arch)
    inputs = keras.Input((card.size, card.size, 3), name="image")
    backbone = build_backbone(arch, inputs, card.alpha, "none")
    training = dict(card.training)
    if get_architecture(arch).own_maps:
        maps = backbone.output
    else:
        end, levels = cut_backbone(backbone, "P4")
        maps = decoder_features({name: layer.output for name, layer in levels.items()}, card.alpha)
        maps = L.ZeroPadding2D(KERNEL // 2, name="maps_pad")(maps)
        training["encoder"] = end.name
    outputs = keypoint_heads(maps, card.points, card.stride)
    model = keras.Model(inputs, outputs, name="keypoint_detector")
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.9
    return KeypointDetector(model, KeypointCard(**{**asdict(card), "arch": arch, "training": training}))


def take_trunk(target: KeypointDetector, source: keras.Model) -> str:
    """Copy the weights that a detector shares with another network of the same architecture, except the heads.

    Layers are matched by name, whether the network predicts landmarks or keypoints. Returns a line that describes what
    was copied. Raises a `UserError` if a layer of that name has another shape, or no layer is shared.
    """
    apart = ("keypoint_maps", "jacobian_maps", "keypoints", "decoder_heatmaps", "landmarks", ANTI_ALIAS)
    sources = {layer.name: layer for layer in source.layers if layer.weights and layer.name not in apart}
    own = [layer for layer in target.model.layers if layer.weights and layer.name not in apart]
    taken = [layer for layer in own if layer.name in sources]
    for layer in taken:
        if [tuple(w.shape) for w in layer.weights] != [tuple(w.shape) for w in sources[layer.name].weights]:
            raise UserError(
                f"--init: the layer {layer.name} has a different shape: is its width not {target.card.alpha:g}?"
            )
        layer.set_weights(sources[layer.name].get_weights())
    if not taken:
        raise UserError(f"--init has no layer of {target.card.arch}")
    return f"{len(taken)} of {len(own)} layers taken, the heads apart"


def save_detector(detector: KeypointDetector, path: Path) -> None:
    """Write `<path>.h5` and its card, each atomically."""
    save_with_card(detector.model, detector.card, path)


def load_detector(path: Path) -> KeypointDetector:
    """Load a `.h5` file with its card; raises a `UserError` for anything else."""
    check_exists(path)
    card = KeypointCard.read(path)
    model = load_plain_model(path, card)
    outputs = model.output if isinstance(model.output, dict) else {}
    fits = set(OUTPUTS) <= set(outputs) and tuple(outputs["keypoints"].shape) == (None, card.points, 2)
    if not fits or model.input_shape[1:] != (card.size, card.size, 3):
        raise UserError(f"{path} does not fit its card: {card.points} keypoints, {card.size} pixels")
    return KeypointDetector(model, card)


def load_start(path: Path) -> LandmarkNet:
    """Load the network of `--init`: a landmark network, or a detector's trunk as one."""
    card = path.with_suffix(".json")
    if not card.is_file() or read_json(card, "the card").get("kind") != "keypoints":
        return load_network(path)
    detector = load_detector(path)
    named = detector.card
    return LandmarkNet(
        detector.trunk(), Card(named.arch, named.alpha, "clips", {}, named.size, "keypoint detector", margin=0.0)
    )
