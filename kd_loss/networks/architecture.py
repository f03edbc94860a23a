"""What is known about a backbone before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

_Channels = float | tuple[float, float, float]


@dataclass(frozen=True)
class Architecture:
    """A backbone's constructor, the input scaling that it expects outside itself, and its options.

    Attributes:
        build: a function of `keras.applications`, or of the same form.
        scaling: (scale, offset) applied to 0…255 RGB pixels before it, a number or one a channel, or None where it
            scales itself.
        has_alpha: whether it has a width multiplier.
        dropout: the share of the embedding that is dropped in training, by default.
        own_maps: whether its output is as fine as heatmaps have to be: a head needs no decoder, and it is not cut.
        pretrained: which `--pretrained` it has beside `none`.
        registered: whether it is a user's own, which is tried before a training begins.
    """

    build: Callable[..., keras.Model]
    scaling: tuple[_Channels, _Channels] | None
    has_alpha: bool
    dropout: float
    own_maps: bool = False
    pretrained: tuple[str, ...] = ("imagenet",)
    registered: bool = False
