"""The command `import`."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from kd_loss.datasets.prepare import check_crop
from kd_loss.importing.agreement import agreement
from kd_loss.importing.legacy import (
    CONVENTIONS,
    RANGES,
    Convention,
    Recognised,
    convert,
    own_scaling,
    plain_network,
    recognise,
)
from kd_loss.importing.legacy_file import OldFile, read_old_file
from kd_loss.importing.legacy_graph import OldNetwork, input_size, rebuild
from kd_loss.networks.card import Card
from kd_loss.networks.landmark_net import LandmarkNet, load_network, save_network
from kd_loss.networks.size_limits import within_limits
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES, chosen_landmark_scheme
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256
from kd_loss.system.versions import __version__, package_versions

log = logging.getLogger(__name__)
#: largest accepted difference of a coordinate, in sides of the crop
TOLERANCE = 1e-5
#: smallest standard deviation of a coordinate over the images, in sides of the crop; agreement is 100 times finer
SPREAD = 100 * TOLERANCE


def run_import(options: ImportOptions) -> Path:
    """Write the native network and its card, both or neither; returns the network's path.

    Raises:
        UserError: the file is something else, or the new network's predictions, after saving and loading,
            differ from the old one's.
    """
    options.check()
    path = Path(options.old)
    if options.output and options.output.suffix != ".h5":
        raise UserError(f"--output {options.output} does not end in .h5")
    convention = _convention(options)
    file = read_old_file(path)
    target = options.output or path.with_name(f"{path.stem}-native.h5")
    for taken in (target, target.with_suffix(".json")):
        if os.path.lexists(taken):
            raise UserError(f"{taken} already exists; give another --output")
    parts = recognise(file)
    card = _card(options, path, file, parts, convention)
    log.info(
        f"{file}; {parts.arch} (alpha {parts.alpha:g}), {parts.points} points from {parts.head.name}, {card.size} px"
    )
    old = within_limits(path, lambda _: rebuild(file, card.size)) if file.config is not None else None
    network, difference, predicted = _converted(path, file, parts, convention, card, old, target.name)
    spread = _check_agreement(path, parts, difference, predicted)
    origin = {
        "file": path.name,
        "sha256": sha256(path),
        "keras": file.version,
        "convention": convention.coordinates,
        "range": convention.range,
        "first_pixel": convention.first_pixel,
        "largest_difference": difference,
    }
    try:
        save_network(replace(network, card=replace(network.card, training={"imported": origin})), target)
    except UserError:
        target.unlink(missing_ok=True)  # no network without its card
        raise
    log.info(
        f"predictions agree: largest difference {difference:.1e} of the crop on {len(predicted)} images "
        f"(accepted: {TOLERANCE:g}); they span {predicted.min():.2g}…{predicted.max():.2g} and vary by "
        f"{spread:.1g} from image to image"
    )
    print(
        f"{target}: {card.role} {parts.arch} for {card.dataset}, margin {card.margin:g}; its card is {target.stem}.json"
    )
    return target


def _card(options: ImportOptions, path: Path, file: OldFile, parts: Recognised, convention: Convention) -> Card:
    """The card of the new network; raises a `UserError` if scheme or size do not match the file."""
    scheme = chosen_landmark_scheme(options.dataset, options.scheme)
    if parts.points != scheme.points:
        fitting = [name for name, other in LANDMARK_SCHEMES.items() if other.points == parts.points and "_" not in name]
        raise UserError(
            f"{path} predicts {parts.points} points, {scheme.name} has {scheme.points}"
            + (f"; --dataset {fitting[0]} has as many" if fitting else "; describe them with --scheme")
        )
    stated = input_size(file)
    if stated and options.size and stated != options.size:
        raise UserError(f"{path} takes images of {stated} pixels; remove --size {options.size}")
    size = stated or options.size or 224
    margin = options.margin if options.margin is not None else 0.05 if convention.coordinates == "kd-loss" else 0.15
    check_crop(size, margin)
    return Card(
        arch=parts.arch,
        alpha=parts.alpha,
        dataset=scheme.name,
        spec=scheme.to_dict(),
        size=size,
        role=options.role,
        margin=margin,
        versions={"kd_loss": __version__, "keras": keras.__version__, **package_versions()},
    )


def _converted(
    path: Path, file: OldFile, parts: Recognised, convention: Convention, card: Card, old: OldNetwork | None, name: str
) -> tuple[LandmarkNet, float, np.ndarray]:
    """The new network and, after saving and loading it, its distance from the old one and its predictions."""
    scaling = own_scaling(file, parts, old)
    network = convert(file, parts, convention, scaling, card)
    scale, offset = RANGES[convention.range]
    if old is None:  # the plain network begins at the first convolution
        reference = plain_network(path, parts, card.size)
        seen = (scaling[0] * scale, scaling[0] * offset + scaling[1])
    else:
        reference, seen = old.model, (scale, offset)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / name
        save_network(network, written)
        return network, *agreement(load_network(written), reference, seen, convention)


def _check_agreement(path: Path, parts: Recognised, difference: float, predicted: np.ndarray) -> float:
    """Reject networks that differ or whose agreement is trivial; returns how much predictions vary over images."""
    spread = float(predicted.std(axis=0).max())
    if not spread >= SPREAD:
        raise UserError(
            f"{path} returns the same landmarks for every image (they vary by {spread:.1g} of the crop), so "
            "agreement of the networks proves nothing; check --range, and that the file is trained. Nothing was written"
        )
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path} is not a plain {parts.arch} with a linear head: the new network's predictions differ by up to "
            f"{difference:.2g} of the crop; nothing was written"
        )
    return spread


def _convention(options: ImportOptions) -> Convention:
    if not options.convention:
        raise UserError(f"give --convention, the meaning of its coordinates: {', '.join(CONVENTIONS)}")
    coordinates = options.convention
    pixels = coordinates in ("kd-loss", "pixels")
    if options.first_pixel is not None and not pixels:
        raise UserError(f"--first-pixel {options.first_pixel:g} applies to kd-loss and pixels only")
    default = 0.5 if coordinates == "kd-loss" else 0.0
    return Convention(
        coordinates=coordinates,
        range=options.range or ("unit" if coordinates == "kd-loss" else "bytes"),
        first_pixel=default if options.first_pixel is None else options.first_pixel,
    )


@dataclass(frozen=True)
class ImportOptions(Options):
    """Write a native .h5 with a card from a Keras 2 file (a whole model or weights alone); predictions stay."""

    old: str = option("", "old .h5 file", positional=True)
    dataset: str = option("", "w300, cofw, wflw, …: scheme of its landmarks, or a name for that of --scheme")
    scheme: str = option("", "JSON file that describes your own landmarks, as for prepare", also="--spec")
    convention: str = option(
        "",
        "kd-loss: (112 − p)/224, RGB of 0…1; native: −0.5…0.5 across the crop, RGB of 0…255; unit: 0…1 across "
        "it; pixels: of the input",
        choices=("kd-loss", "native", "unit", "pixels"),
    )
    range: str = option(
        "",
        "range of the images: bytes (0…255), unit (0…1), signed (−1…1) or imagenet; default: unit for kd-loss, "
        "otherwise bytes",
        choices=("bytes", "unit", "signed", "imagenet"),
    )
    first_pixel: float | None = option(
        None,
        "kd-loss and pixels: coordinate of the first pixel's centre; default: 0.5 for kd-loss (a crop spans 0…224), "
        "0 for pixels",
        within=(0, 1),
    )
    role: str = option("student", "student, tough or tolerant", choices=("student", "tough", "tolerant"))
    margin: float | None = option(
        None, "margin of its training crops, see prepare; default: 0.05 for kd-loss, otherwise 0.15", within=(0, 2)
    )
    size: int = option(0, "side of the input in pixels, if the file states none; default: 224")
    output: Path | None = option(None, "new .h5 file; default: OLD-native.h5 beside the old one")

    def check(self) -> None:
        """Raises a `UserError` if the file does not exist."""
        if not self.old:
            raise UserError("give the old file, e.g. kd-loss import old.h5 --dataset w300 --convention kd-loss")
