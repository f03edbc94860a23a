"""Writes the file of a landmark or keypoint network with its card, and reads it safely."""

from __future__ import annotations

import contextlib
from pathlib import Path

import keras
import numpy as np

from kd_loss.networks.backbones import arch_name
from kd_loss.networks.card import WeightsCard
from kd_loss.networks.kerashub import PREFIX, import_kerashub
from kd_loss.networks.model_file import check_model_file
from kd_loss.networks.size_limits import check_maps, within_limits
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.files import atomic_file, check_room
from kd_loss.system.hdf5 import trust


def save_with_card(model: keras.Model, card: WeightsCard, path: Path) -> None:
    """Write a `.h5` or `.keras` file (whole model, without the optimizer) and its card, each atomically."""
    import absl.logging

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)  # Keras warns at each save that .h5 is a legacy format
    try:
        plain = path.suffix == ".keras"
        with atomic_file(path, ".keras" if plain else ".h5") as temporary:
            check_room(temporary, sum(4 * int(np.prod(v.shape)) + 4096 for v in model.variables))
            model.save(temporary, **({} if plain else {"include_optimizer": False}))
    finally:
        absl.logging.set_verbosity(level)
    if not plain:
        trust(path)
    card.write(path)


def check_exists(path: Path) -> None:
    """Raise a `UserError` if the file does not exist."""
    if not path.is_file():
        raise UserError(f"no such weights: {path}")


def load_plain_model(path: Path, card: WeightsCard | None = None) -> keras.Model:
    """Load a `.h5` or `.keras` file without its card.

    Args:
        path: the file.
        card: if known; its architecture determines the third-party layers needed, and the hint if some are
            missing.

    Raises:
        UserError: the file does not exist, or does not load.
    """
    check_exists(path)
    check_model_file(path)
    if card and card.arch.lower().startswith(PREFIX):
        with contextlib.suppress(UserError):  # most of its networks load without it
            import_kerashub()
    try:
        model = within_limits(path, _load_model)
        check_maps(path, model)
    except UserError:
        raise
    except Exception as error:
        missing = _missing(card) if card else ""
        raise UserError(f"{path} does not load as a Keras model: {first_line(error)}{missing}") from None
    return model


def _load_model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        if not any(name in str(error) for name in ("'FixedDropout'", "'swish'")):
            raise
        from kd_loss.networks.efficientnet_package import load_package_model

        return load_package_model(path)


def _missing(card: WeightsCard) -> str:
    """A hint at the layers a network may lack if its architecture is unknown here; empty if it is known."""
    try:
        if arch_name(card.arch).startswith(PREFIX):
            import_kerashub()
    except UserError as error:
        if card.arch.lower().startswith(PREFIX):
            return f"; {error}"
        return f"; its architecture {card.arch} is not known here: give the --plugin FILE that registers it"
    return ""
