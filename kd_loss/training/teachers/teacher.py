"""Teachers as a method sees them: asked in every step, or once before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from kd_loss.datasets.view import Answers
from kd_loss.distillation.base import Tensor
from kd_loss.networks.landmark_net import LandmarkNet
from kd_loss.system.errors import UserError


class Teacher:
    """What is common to all teachers; a plain object, so that Keras does not track it.

    Attributes:
        weight: of its terms, where a method sums over teachers.
        shape: of its target, (N, C): (K, 2) of K landmarks.
        training_errors: (N,) mean squared error on each training face, where a method needs it.
    """

    def __init__(self, shape: tuple[int, int], weight: float = 1.0):
        self.shape, self.weight = shape, weight
        self.training_errors: np.ndarray | None = None

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """The shape of a tap, without the batch."""
        raise NotImplementedError

    def channels(self, tap: str) -> int:
        """The number of channels of a tap: the last axis of its shape."""
        return int(self.tap_shape(tap)[-1])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Kernel (C, 2K) and bias (2K,) of its linear head on the embedding."""
        raise NotImplementedError


class LiveTeacher(Teacher):
    """A frozen network that is asked in every step, about the very picture that the student sees."""

    def __init__(self, network: LandmarkNet, taps: Sequence[str] = ("landmarks",), weight: float = 1.0):
        super().__init__(network.card.scheme().shape, weight)
        self.spread(network, taps)

    def spread(self, network: LandmarkNet, taps: Sequence[str]) -> None:
        """Take the same network, loaded where several devices share the step."""
        self.network, self.size = network, network.card.size
        self.model = network.tap_model(taps)
        self.model.trainable = False

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Taps for pictures (B, S, S, 3) of any size S, without gradients, in float32."""
        images = ops.cast(images, "float32")
        if images.shape[1] != self.size:
            images = ops.image.resize(images, (self.size, self.size), antialias=True)
        taps = self.model(images, training=False)
        return {name: ops.stop_gradient(ops.cast(value, "float32")) for name, value in taps.items()}

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Of the network's tap."""
        return tuple(self.network.tap_model([tap]).output[tap].shape[1:])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the network."""
        return self.network.head_weights()


class RecordedTeacher(Teacher):
    """A teacher that was asked once; its answers come with each batch, as `role/tap`.

    Args:
        answers: of the training faces; network: the one that gave them, None for one of another runtime.
    """

    def __init__(self, role: str, answers: Answers, network: LandmarkNet | None = None, weight: float = 1.0):
        super().__init__(answers.landmarks.shape[2:], weight)
        self.role, self.answers, self.network = role, answers, network

    def __call__(self, targets: dict[str, Any]) -> dict[str, Tensor]:
        """Its taps among the targets of a batch."""
        return {tap: ops.cast(targets[f"{self.role}/{tap}"], "float32") for tap in self.answers.taps}

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Of the recorded tap."""
        if tap not in self.answers.taps:
            asked = ", ".join(self.answers.taps)
            raise UserError(
                f"the {self.role} teacher was asked for {asked}, not for '{tap}' (teacher_taps of a method)"
            )
        return tuple(self.answers.taps[tap].shape[2:])

    def head_weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Of its network; a `UserError` for one of another runtime, whose head is not known."""
        if self.network is None:
            raise UserError(f"the {self.role} teacher is of another runtime: its head is not known")
        return self.network.head_weights()
