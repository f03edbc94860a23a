"""Backbones, heads and `LandmarkNet`, the network with named taps; its `.h5` file and card.

The names are imported on first use, so that code that reads exports of other runtimes does not need Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_loss.networks.backbones import ARCHITECTURES, PRETRAINED
    from kd_loss.networks.card import Card
    from kd_loss.networks.head_registry import HEADS, Head, HeadInputs, register_head
    from kd_loss.networks.landmark_net import LandmarkNet, build_network, load_network, save_network

_PLACES = {
    "ARCHITECTURES": "backbones",
    "PRETRAINED": "backbones",
    "Card": "card",
    "HEADS": "landmark_net",
    "Head": "head_registry",
    "HeadInputs": "head_registry",
    "LandmarkNet": "landmark_net",
    "build_network": "landmark_net",
    "load_network": "landmark_net",
    "register_head": "landmark_net",
    "save_network": "landmark_net",
}

__all__ = [
    "ARCHITECTURES",
    "HEADS",
    "PRETRAINED",
    "Card",
    "Head",
    "HeadInputs",
    "LandmarkNet",
    "build_network",
    "load_network",
    "register_head",
    "save_network",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
