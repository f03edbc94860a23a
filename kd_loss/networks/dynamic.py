"""Dynamic convolutions, whose kernel is a mean of experts weighted for each image, and MobileNetV2 with them."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from kd_loss.system.errors import UserError

L = keras.layers
Tensor = Any

#: momentum of every batch normalisation, here and in recognition
MOMENTUM = 0.9
#: experts of a convolution; temperature of their softmax
EXPERTS, TEMPERATURE = 4, 4.0
#: MobileNetV2's first block with dynamic convolutions, whose output is 8 times smaller than the image
FIRST_BLOCK = 3


@keras.saving.register_keras_serializable("kd_loss")
class DynamicConv2D(keras.Layer):
    """`Σᵢ αᵢ (Wᵢ ∗ x)`: a convolution whose kernel is a mean of n experts, weighted for each image.

    One convolution to n·C channels and a weighted sum; of 1 × 1 kernels at stride 1 a mean of the kernels and one
    product, which costs what a static convolution does. Called on `[x, alpha]`: (B, h, w, c) and (B, n), or with
    m groups (B, m·n): the input channels are split into m parts with experts and weights of their own, their
    outputs, 2·C channels together, go through a 1×1 convolution to C.

    Args:
        filters: C; size: side of the kernels; strides: of the convolution.
        experts: n; groups: m.

    Source:
        Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020; the groups are CondFace's.
    """

    def __init__(
        self, filters: int, size: int = 3, strides: int = 1, experts: int = EXPERTS, groups: int = 1, **options: Any
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
            if self.size == 1 and self.strides == 1:
                parts.append(self._pointwise(part, self.kernels[group], weights))
                continue
            y = ops.conv(part, self.kernels[group], self.strides, "same")
            experts = ops.split(y, self.experts, axis=-1)
            chosen = ops.split(weights, self.experts, axis=-1)
            parts.append(sum(ops.reshape(a, (-1, 1, 1, 1)) * e for a, e in zip(chosen, experts, strict=True)))
        if self.joined is None:
            return parts[0]
        return ops.conv(ops.concatenate(parts, axis=-1), self.joined, 1, "same")

    def _pointwise(self, x: Tensor, kernel: Tensor, weights: Tensor) -> Tensor:
        """The same for a 1 × 1 kernel (1, 1, c, n·C): the experts' mean first, (B, c, C)."""
        _, height, width, channels = x.shape
        experts = ops.transpose(ops.reshape(kernel, (channels, self.experts, self.out)), (1, 0, 2))
        mean = ops.matmul(weights, ops.reshape(experts, (self.experts, -1)))
        y = ops.matmul(ops.reshape(x, (-1, height * width, channels)), ops.reshape(mean, (-1, channels, self.out)))
        return ops.reshape(y, (-1, height, width, self.out))

    def multiply_adds(self) -> int:
        """Multiply-add operations per image: of all experts, or of the mean 1 × 1 kernel and its product."""
        cells, kernels = math.prod(self.output.shape[1:-1]), sum(math.prod(kernel.shape) for kernel in self.kernels)
        joined = 0 if self.joined is None else cells * math.prod(self.joined.shape)
        if self.size == 1 and self.strides == 1:
            return kernels + cells * kernels // self.experts + joined
        return cells * kernels + joined

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
    hidden = L.BatchNormalization(momentum=MOMENTUM, epsilon=1e-5, name=f"{name}_bn")(hidden)
    logits = L.Dense(experts * groups, name=f"{name}_logits")(hidden)
    shares = L.Softmax(name=f"{name}_softmax")(
        L.Reshape((groups, experts), name=f"{name}_groups")(L.Rescaling(1 / temperature, name=f"{name}_cooled")(logits))
    )
    return L.Reshape((groups * experts,), name=f"{name}_alpha")(shares)


def dynamic_mobilenet_v2(
    input_tensor: Tensor, include_top: bool = False, weights: str | None = None, alpha: float = 1.0
) -> keras.Model:
    """MobileNetV2 whose 1 × 1 convolutions are dynamic from stride 8 on; the two of a block share their routing.

    The arguments are those of `keras.applications.MobileNetV2`; there are no weights for it.

    Source:
        Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020 (DY-MobileNetV2, which has
        them in all blocks).
    """
    if include_top or weights:
        raise UserError("dynamicMobileNetV2 is a backbone without published weights")
    static = keras.applications.MobileNetV2(input_tensor=input_tensor, include_top=False, weights=None, alpha=alpha)
    routes: dict[str, Tensor] = {}

    def call(layer: keras.Layer, x: Tensor, **options: Any) -> Tensor:
        """The layer on x, or a dynamic convolution in its place."""
        found = re.fullmatch(r"(block_(\d+))_(expand|project)", layer.name)
        if found is None or int(found[2]) < FIRST_BLOCK:
            return layer(x, **options)
        if found[3] == "expand":
            routes[found[1]] = routing(x, EXPERTS, 1, TEMPERATURE, f"{found[1]}_route")
        return DynamicConv2D(layer.filters, 1, experts=EXPERTS, name=layer.name)([x, routes[found[1]]])

    source = keras.utils.get_source_inputs(input_tensor)
    return keras.models.clone_model(static, input_tensors=source, call_function=call)
