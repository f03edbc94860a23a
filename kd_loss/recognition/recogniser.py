"""A recognition network as users have it: from crops to embeddings, with the landmark network that it may need."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.networks import Card, LandmarkNet, build_network
from kd_loss.recognition.card import STEP, SUFFIX, RecogniserCard, card_beside, weights_file
from kd_loss.recognition.layers import resized
from kd_loss.recognition.network import build_recogniser
from kd_loss.recognition.scores import unit
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.files import atomic_file

#: the 51 points inside of the face, of the 68
INNER = range(17, 68)
#: taps whose maps are integrated
MAPS = ("P2", "P3", "P4")
#: the centres (D, N) of the training's persons, beside the weights
CENTRES = "centres.npy"


def landmark_maps(network: LandmarkNet, size: int, heatmaps: bool = True, features: bool = True) -> keras.Model:
    """A frozen model from crops (B, size, size, 3), RGB 0…255, to the maps that a recogniser takes.

    Heatmaps (B, h, w, 51) of the inner points are distributions divided by their largest cell, 0…1; features are `P2`,
    `P3` and `P4`.

    Raises:
        UserError: the network has no heatmaps, or not 68 landmarks.
    """
    if network.card.scheme().shape != (68, 2):
        raise UserError(f"a landmark network of the 68 points is wanted, not of {network.card.dataset}")
    taps = ["heatmaps"] * heatmaps + [tap for tap in MAPS if tap in network.taps] * features
    model = network.tap_model(taps)
    model.trainable = False
    inputs = keras.Input((size, size, 3), name="image")
    outputs = dict(model(resized(inputs, network.size)))
    if heatmaps:
        inner = outputs["heatmaps"][..., INNER.start : INNER.stop]
        outputs["heatmaps"] = ops.exp(inner - ops.max(inner, axis=(1, 2), keepdims=True))  # of logits
    return keras.Model(inputs, outputs, name="landmark_maps")


@dataclass(frozen=True)
class Recogniser:
    """Crops -> embeddings.

    Attributes:
        network: see `network.build_recogniser`.
        card: what it expects.
        maps: from crops to the landmark network's maps, see `landmark_maps`; None without integration.
    """

    network: keras.Model
    card: RecogniserCard
    maps: keras.Model | None = None

    @property
    def parameters(self) -> int:
        """Number of parameters, those of the landmark network included."""
        return self.network.count_params() + (self.maps.count_params() if self.maps else 0)

    def inputs(self, images: np.ndarray, other_maps: bool = False) -> dict[str, Any]:
        """The network's inputs for crops (B, S, S, 3); `other_maps`: with the maps of the crop before each."""
        images = images.astype(np.float32)
        maps = self.maps.predict_on_batch(images) if self.maps else {}
        return {"image": images, **{n: np.roll(v, 1, axis=0) if other_maps else v for n, v in maps.items()}}

    def answers(self, images: np.ndarray, output: str = "embedding", other_maps: bool = False) -> np.ndarray:
        """One of the network's outputs, (N, D), for crops (N, S, S, 3) uint8 RGB of its size."""
        size = self.card.size
        if images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise UserError(f"crops of {images.shape[1:]}; the network takes ({size}, {size}, 3)")
        order = np.arange(len(images))
        if other_maps:  # images of one person often follow each other
            order = np.random.default_rng(0).permutation(order)
        parts = []
        for start in range(0, len(images), STEP):
            batch = np.asarray(images[order[start : start + STEP]])
            filled = np.resize(batch, (STEP, *batch.shape[1:])) if len(images) > STEP else batch  # one graph
            parts.append(self.network.predict_on_batch(self.inputs(filled, other_maps))[output][: len(batch)])
        if not parts:
            return np.zeros((0, self.card.embedding), np.float32)
        return np.concatenate(parts)[np.argsort(order)]

    def embed(self, images: np.ndarray, mirror: bool = False, other_maps: bool = False) -> np.ndarray:
        """Embeddings (N, D) of length 1 of crops (N, S, S, 3) uint8 RGB.

        Args:
            images: the crops.
            mirror: add the embedding of the mirror image before the length becomes 1.
            other_maps: give each crop the maps of another one, at random: a control.
        """
        found = self.answers(images, other_maps=other_maps)
        if mirror:
            found = unit(found + self.answers(np.asarray(images)[:, :, ::-1], other_maps=other_maps))
        return found

    def export_model(self) -> keras.Model:
        """One model from crops (B, S, S, 3), RGB 0…255, to embeddings (B, D), with the landmark network in it."""
        inputs = keras.Input((self.card.size, self.card.size, 3), name="image")
        more = self.maps(inputs) if self.maps else {}
        return keras.Model(inputs, self.network({"image": inputs, **more})["embedding"], name="recogniser")


def new_recogniser(card: RecogniserCard, landmarks: LandmarkNet | None = None, seed: int = 0) -> Recogniser:
    """A recogniser with random weights; its card gets the shapes of the maps of the landmark network."""
    if not card.integrated:
        return Recogniser(build_recogniser(dataclasses.replace(card, maps={}, landmark_card=None), seed), card)
    if landmarks is None:
        raise UserError("maps of a landmark network are integrated: give one, --landmarks FILE")
    maps = landmark_maps(landmarks, card.size, card.heatmaps != "none", card.features != "none")
    shapes = {name: tuple(int(n) for n in value.shape[1:]) for name, value in maps.output.items()}
    card = dataclasses.replace(card, maps=shapes, landmark_card=asdict(landmarks.card))
    return Recogniser(build_recogniser(card, seed), card, maps)


def save_recogniser(recogniser: Recogniser, path: Path) -> None:
    """Write `<path>.weights.h5`, with the landmark network's weights, and its card `<path>.json`, each atomically."""
    parts = [recogniser.network, *([recogniser.maps] if recogniser.maps else [])]
    with atomic_file(path.with_name(path.name + SUFFIX), SUFFIX) as temporary:
        _Together(parts).save_weights(temporary)
    recogniser.card.write(path.with_name(path.name + ".h5"))


def load_recogniser(path: Path) -> Recogniser:
    """Load a recogniser from its `.weights.h5`, or its run folder; it is built from its card, no code of a file runs.

    Raises:
        UserError: a file is missing, or does not fit its card.
    """
    path = weights_file(path)
    if not path.is_file():
        raise UserError(f"no such weights: {path}")
    if not path.name.endswith(SUFFIX):
        raise UserError(f"{path} is no recognition network: kd-loss train-recogniser writes best{SUFFIX}")
    card = card_beside(path)
    landmarks = None
    if card.integrated:
        landmarks = build_network(
            Card.from_dict(dict(card.landmark_card or {}), f"the landmark network's card of {path}")
        )
    recogniser = new_recogniser(card, landmarks)
    if recogniser.card.maps != {name: tuple(shape) for name, shape in card.maps.items()}:
        raise UserError(f"{path}: its card names maps of other shapes than its landmark network makes")
    try:
        _Together([recogniser.network, *([recogniser.maps] if recogniser.maps else [])]).load_weights(path)
    except Exception as error:
        raise UserError(f"{path} does not fit its card: {first_line(error)}") from None
    return recogniser


class _Together(keras.Model):
    """Several models whose weights lie in one file."""

    def __init__(self, parts: Sequence[keras.Model]):
        super().__init__(name="together")
        self.parts = list(parts)
        self.built = True
