"""Online augmentation: one affine map for image and points, then photometric changes.

Every random number depends on (seed, epoch, index) only, so a sample looks the same in an interrupted and
resumed run, whichever thread makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from kd_loss.datasets.turned import turned
from kd_loss.imaging import geometry
from kd_loss.schemes.base import Scheme


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the changes; each is drawn uniformly, each probability per image.

    Attributes:
        rotation: largest angle in degrees, either way.
        scale: largest relative change of scale, either way.
        shift: largest shift as a fraction of the crop, either way, on each axis.
        flip: probability of mirroring (with the swap of left and right points).
        colour: largest relative change of brightness and contrast; the gain of each channel changes by half as much.
        blur, grey, patch: probabilities of a blur, of a grey image, of an occluding patch.
        turn: largest angle in degrees by which the head is turned further, see `datasets.turned`; half of it up and
            down. For faces with 68 points.
    """

    rotation: float = 25.0
    scale: float = 0.12
    shift: float = 0.06
    flip: float = 0.5
    colour: float = 0.3
    blur: float = 0.15
    grey: float = 0.1
    patch: float = 0.3
    turn: float = 0.0

    def scaled(self, strength: float) -> Augmentation:
        """Scale all ranges and probabilities except mirroring by `strength` (≥ 0)."""
        changed = {f.name: getattr(self, f.name) * strength for f in fields(self) if f.name != "flip"}
        return replace(self, **changed)

    def draw_affine(self, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Draw a random map of normalised points, (2, 3), and whether it mirrors."""
        angle, scale, dx, dy = rng.uniform(-1, 1, 4)
        flip = bool(rng.random() < self.flip)
        affine = geometry.similarity(
            np.deg2rad(self.rotation * angle), 1 + self.scale * scale, (self.shift * dx, self.shift * dy), flip
        )
        return affine, flip

    def recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply photometric changes to a uint8 image (S, S, 3); the result has the same shape."""
        choices = rng.random(3)
        strength = rng.uniform(-self.colour, self.colour, 5)
        if self.colour:
            ramp = np.arange(256, dtype=np.float32)[:, None]
            contrast, brightness = 1 + strength[3], 127 * strength[4]
            table = (ramp - 127) * contrast * (1 + strength[:3] / 2) + 127 + brightness
            image = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None].reshape(1, 256, 3))
        if choices[0] < self.grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if choices[1] < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), image.shape[0] * rng.uniform(0.003, 0.015))
        if choices[2] < self.patch:
            side = image.shape[0]
            height, width = (rng.uniform(0.08, 0.35, 2) * side).astype(int)
            y, x = (rng.uniform(-0.1, 1, 2) * side).astype(int)
            image = image.copy()
            image[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = rng.integers(0, 256, 3)
        return image


NO_AUGMENTATION = Augmentation(0, 0, 0, 0, 0, 0, 0, 0)


def warp(image: np.ndarray, affine: np.ndarray, size: int, border: int = 0) -> np.ndarray:
    """Warp a stored crop (T, T, 3) by a map of normalised points to (size, size, 3) uint8.

    `border` pixels on each side are surroundings, with normalised coordinates below −0.5 and above 0.5. Beyond them
    the edge pixels are repeated: black corners would reveal to the network how far the image was rotated.
    """
    inner = image.shape[0] - 2 * border
    if border:
        affine = affine @ np.diag([image.shape[0] / inner, image.shape[0] / inner, 1])
    factor = inner // size
    if factor > 1:  # average first: a bilinear look at every third pixel would alias
        side = image.shape[0] // factor
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    matrix = geometry.pixel_affine(affine, image.shape[0], size)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def augment(
    image: np.ndarray,
    targets: np.ndarray,
    size: int,
    augmentation: Augmentation,
    scheme: Scheme,
    rng: np.random.Generator,
    border: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one augmented sample: (size, size, 3) uint8 and its targets (…, N, C), transformed by their scheme.

    `border`: the pixels around the stored crop, see `warp`.
    """
    affine, flip = augmentation.draw_affine(rng)
    if augmentation.turn:
        yaw, pitch = rng.uniform(-augmentation.turn, augmentation.turn, 2)
        image, targets = turned(image, targets, yaw, pitch / 2, border)
    moved = scheme.move(targets, affine, flip)
    return augmentation.recolour(warp(image, affine, size, border), rng), moved
