"""The layers of recognition: AdaIN, the integration of a landmark network's maps, and dynamic convolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

L = keras.layers
Tensor = Any

#: momentum of every batch normalisation
MOMENTUM = 0.9


def adain(x: Tensor, y: Tensor, epsilon: float = 1e-5) -> Tensor:
    """`σ(y)·(x − μ(x)) / σ(x) + μ(y)`: maps x with the mean and deviation, per sample and channel, of maps y.

    Args:
        x: (B, h, w, C).
        y: (B, H, W, C).
        epsilon: added to variances.

    Returns:
        (B, h, w, C).

    Source:
        Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017.

    >>> found = adain(ops.reshape([-1.0, 1.0], (1, 1, 2, 1)), ops.reshape([10.0, 14.0], (1, 1, 2, 1)))
    >>> [round(float(value)) for value in found[0, 0, :, 0]]
    [10, 14]
    """
    mean, variance = ops.moments(x, axes=(1, 2), keepdims=True)
    other_mean, other_variance = ops.moments(y, axes=(1, 2), keepdims=True)
    return (x - mean) * ops.sqrt((other_variance + epsilon) / (variance + epsilon)) + other_mean


def batch_norm(name: str, **options: Any) -> keras.Layer:
    """A batch normalisation with the package's momentum."""
    return L.BatchNormalization(momentum=MOMENTUM, epsilon=1e-5, name=name, **options)


def prelu(name: str) -> keras.Layer:
    """PReLU with one slope a channel, starting at 0.25."""
    return L.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2], name=name)


def resized(maps: Tensor, size: int) -> Tensor:
    """Maps (B, h, w, C) interpolated to (B, size, size, C); averaged where they shrink."""
    return maps if maps.shape[1] == size else ops.image.resize(maps, (size, size), antialias=True)


def adapted(maps: Tensor, channels: int, name: str) -> Tensor:
    """x̂ = conv1×1(BN(x)): a landmark network's maps with the channels of the recognition network, at their own size."""
    x = batch_norm(f"{name}_bn")(maps)
    return L.Conv2D(channels, 1, use_bias=False, name=f"{name}_conv")(x)


def integrate(kind: str, y: Tensor, adapted_maps: Tensor, name: str, start: str = "ones") -> Tensor:
    """Features y (B, s, s, C) with a landmark network's adapted maps x̂ integrated, (B, s, s, C).

    x̃ = AdaIN(x̂, y), interpolated to the size of y. `bl`: PReLU(y + BN(conv1×1([y; x̃]))); `sl`: PReLU(y + x̃); `al`:
    as `bl` with 1×1, 3×3 and 1×1 convolutions. `start`: initial values of the last normalisation's factor.

    Source:
        Yang, Bulat & Tzimiropoulos, "FAN-Face: a Simple Orthogonal Improvement to Deep Face Recognition", AAAI 2020.
    """
    channels = y.shape[-1]
    x = adain(resized(adapted_maps, y.shape[1]), y)
    if kind == "sl":
        return prelu(f"{name}_prelu")(L.Add(name=f"{name}_add")([y, x]))
    z = L.Concatenate(name=f"{name}_both")([y, x])
    sides = (1, 3, 1) if kind == "al" else (1,)
    for number, side in enumerate(sides, start=1):
        z = L.Conv2D(channels, side, padding="same", use_bias=False, name=f"{name}_conv{number}")(z)
        if number < len(sides):
            z = prelu(f"{name}_prelu{number}")(batch_norm(f"{name}_bn{number}")(z))
    z = batch_norm(f"{name}_bn", gamma_initializer=start)(z)
    return prelu(f"{name}_prelu")(L.Add(name=f"{name}_add")([y, z]))


@keras.saving.register_keras_serializable("kd_loss")
class DynamicConv2D(keras.Layer):
    """`Σᵢ αᵢ (Wᵢ ∗ x)`: a convolution whose kernel is a mean of n experts, weighted for each picture.

    One convolution to n·C channels and a weighted sum. Called on `[x, alpha]`: (B, h, w, c) and (B, n), or with
    m groups (B, m·n): the input channels are split into m parts with experts and weights of their own, their
    outputs, 2·C channels together, go through a 1×1 convolution to C.

    Args:
        filters: C; size: side of the kernels; strides: of the convolution.
        experts: n; groups: m.

    Source:
        Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020; the groups are CondFace's.
    """

    def __init__(
        self, filters: int, size: int = 3, strides: int = 1, experts: int = 4, groups: int = 1, **options: Any
    ):
        super().__init__(**options)
        self.filters, self.size, self.strides, self.experts, self.groups = filters, size, strides, experts, groups

    def build(self, shapes: Any) -> None:
        """Create a kernel of all experts for each group."""
        channels = shapes[0][-1]
        if channels % self.groups or (2 * self.filters) % self.groups:
            raise ValueError(f"{channels} channels cannot be split into {self.groups} groups")
        self.out = self.filters if self.groups == 1 else 2 * self.filters // self.groups
        shape = (self.size, self.size, channels // self.groups, self.experts * self.out)
        # the variance of one expert's kernel, not of n times as many channels
        start = keras.initializers.HeNormal()
        self.kernels = [self.add_weight(shape, start, name=f"kernel{group}") for group in range(self.groups)]
        self.joined = None
        if self.groups > 1:
            self.joined = self.add_weight((1, 1, 2 * self.filters, self.filters), "he_normal", name="joined")
        self.built = True

    def call(self, inputs: Any) -> Tensor:
        """The weighted sum of the experts' convolutions, (B, h', w', C)."""
        x, alpha = inputs
        parts = []
        for group, (part, weights) in enumerate(
            zip(ops.split(x, self.groups, axis=-1), ops.split(alpha, self.groups, axis=-1), strict=True)
        ):
            y = ops.conv(part, self.kernels[group], self.strides, "same")
            experts = ops.split(y, self.experts, axis=-1)
            chosen = ops.split(weights, self.experts, axis=-1)
            parts.append(sum(ops.reshape(a, (-1, 1, 1, 1)) * e for a, e in zip(chosen, experts, strict=True)))
        if self.joined is None:
            return parts[0]
        return ops.conv(ops.concatenate(parts, axis=-1), self.joined, 1, "same")

    def compute_output_shape(self, shapes: Any) -> Any:
        """(B, h / strides, w / strides, C)."""
        batch, height, width, _ = shapes[0]
        return (batch, -(-height // self.strides), -(-width // self.strides), self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in ("filters", "size", "strides", "experts", "groups")}
        return {**super().get_config(), **own}


def routing(x: Tensor, experts: int, groups: int, temperature: float, name: str) -> Tensor:
    """α = softmax((dense–ReLU–BN–dense)(average) / T) over n experts, for each of m groups: (B, m·n)."""
    pooled = L.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    hidden = L.Dense(max(8, x.shape[-1] // 4), activation="relu", name=f"{name}_hidden")(pooled)
    logits = L.Dense(experts * groups, name=f"{name}_logits")(batch_norm(f"{name}_bn")(hidden))
    shares = L.Softmax(name=f"{name}_softmax")(
        L.Reshape((groups, experts), name=f"{name}_groups")(logits / temperature)
    )
    return L.Reshape((groups * experts,), name=f"{name}_alpha")(shares)
