"""Backbones, heads and `LandmarkNet`, the network with named taps; its `.h5` file and card."""

from kd_loss.networks.backbones import ARCHITECTURES, PRETRAINED
from kd_loss.networks.card import Card
from kd_loss.networks.landmark_net import LandmarkNet, build_network, load_network, save_network

__all__ = [
    "ARCHITECTURES",
    "PRETRAINED",
    "Card",
    "LandmarkNet",
    "build_network",
    "load_network",
    "save_network",
]
