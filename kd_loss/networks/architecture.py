"""The description of a backbone before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

_Channels = float | tuple[float, float, float]


@dataclass(frozen=True)
class Architecture:
    """A backbone's constructor, the input scaling that it expects, and its options.

    Attributes:
        build: a function of `keras.applications`, or one with the same signature.
        scaling: (scale, offset) applied to 0…255 RGB pixels before it, one number or one per channel; None if the
            network scales its input itself.
        has_alpha: whether it has a width multiplier.
        dropout: default dropout rate of the embedding in training.
        own_maps: whether its output is fine enough for heatmaps: a head needs no decoder, and the backbone is not cut.
        pretrained: values of `--pretrained` it supports besides `none`.
        registered: whether it is a user's own, which is checked before training.
    """

    build: Callable[..., keras.Model]
    scaling: tuple[_Channels, _Channels] | None
    has_alpha: bool
    dropout: float
    own_maps: bool = False
    pretrained: tuple[str, ...] = ("imagenet",)
    registered: bool = False
