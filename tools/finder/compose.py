"""Training images of the finder: faces of all sizes on photographs of anything.

Rectangles with and without a face are pasted alike, so that the edge of a rectangle says nothing; other images are
one photograph as it is. What lies outside of a photograph is black, as in the finder's own input. Some faces are
covered in part, some images are as dark or as bright as bad photographs are, some show a crowd; and some rectangles
show a part of a head that is no face: an ear, a forehead, a neck.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from kd_loss.imaging import geometry
from tools.finder.faces import FacePicture

#: sides of faces in pixels of the composed image; a face of another size is neither taught nor counted as nothing
SIDES = (8.0, 1.05)
#: shares of images: one photograph with a face, a photograph of anything, a crowd, the others have pasted rectangles
WHOLE, PLAIN, CROWD = 0.32, 0.18, 0.10
#: of pasted rectangles: without a face, with a part of a head; and of faces: covered in part
EMPTY, PART, COVERED = 0.22, 0.12, 0.22

Window = tuple[float, float, float, float]


class Composer:
    """Draws one composed image after another.

    Args:
        faces: lists of images with a face, each list as likely as its share.
        shares: one number for each list.
        backgrounds: photographs of anything, which are shown turned by quarters, too.
        size: side of the square images in pixels.
    """

    def __init__(
        self,
        faces: Sequence[Sequence[FacePicture]],
        shares: Sequence[float],
        backgrounds: Sequence[FacePicture],
        size: int,
    ):
        self.faces, self.size = faces, size
        self.backgrounds = [*backgrounds, *(turned(picture, k) for picture in backgrounds for k in (1, 2, 3))]
        #: how likely each of them is (`mining`)
        self.background_shares: np.ndarray | None = None
        self.shares = np.asarray(shares, np.float64) / np.sum(shares)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An image (S, S, 3) uint8 RGB, its faces (N, 13) and what may be faces (M, 3); see `finder.faces`."""
        canvas = _Canvas(self.size)
        kind = rng.uniform()
        if kind < WHOLE:
            picture = self._face(rng)
            row = picture.faces[0]
            scale = self.size / max(picture.image.shape[:2]) * np.exp(rng.uniform(np.log(0.7), np.log(2.2)))
            scale = min(scale, SIDES[1] * self.size / row[2])
            place = rng.uniform(0.1, 0.9, 2) * self.size
            if rng.uniform() < 0.6:  # all of the face, if it fits
                half = min(0.5 * scale * row[2], 0.45 * self.size)
                place = np.clip(place, half, self.size - half)
            canvas.paste(picture, scale, _angle(rng), rng.uniform() < 0.5, row[:2], place, None)
        else:
            self._background(canvas, rng)
            if kind > 1 - CROWD:
                self._crowd(canvas, rng)
            elif kind > WHOLE + PLAIN:
                for _ in range(rng.integers(2, 8)):
                    self._rectangle(canvas, rng)
        for row in canvas.faces:
            if rng.uniform() < COVERED:
                self._cover(canvas.image, row, rng)
        return _recolour(canvas.image, rng), *canvas.rows()

    def _face(self, rng: np.random.Generator) -> FacePicture:
        pictures = self.faces[int(rng.choice(len(self.faces), p=self.shares))]
        return pictures[int(rng.integers(len(pictures)))]

    def _side(self, rng: np.random.Generator) -> float:
        return float(np.exp(rng.uniform(np.log(SIDES[0]), np.log(SIDES[1] * self.size))))

    def _background(self, canvas: _Canvas, rng: np.random.Generator) -> None:
        picture = self.backgrounds[int(rng.choice(len(self.backgrounds), p=self.background_shares))]
        height, width = picture.image.shape[:2]
        fit = self.size / max(height, width)
        scale = fit * np.exp(rng.uniform(np.log(0.9), np.log(2.5)))
        centre = rng.uniform(0, 1, 2) * [width, height]
        reach = self.size / scale / 2
        low, high = np.minimum(reach, np.array([width, height]) / 2), np.array([width, height])
        centre = np.clip(centre, low, high - low)
        middle = np.full(2, self.size / 2) + rng.uniform(-0.1, 0.1, 2) * self.size * (rng.uniform() < 0.3)
        canvas.paste(picture, scale, 0.0, rng.uniform() < 0.5, centre, middle, None)

    def _crowd(self, canvas: _Canvas, rng: np.random.Generator) -> None:
        """Heads of about one size beside each other, in rows."""
        side = float(np.exp(rng.uniform(np.log(SIDES[0]), np.log(0.22 * self.size))))
        step = side * rng.uniform(1.5, 2.6)
        start = rng.uniform(0, 1, 2) * step
        for y in np.arange(start[1], self.size, step * rng.uniform(1.0, 1.5))[:8]:
            for x in np.arange(start[0], self.size, step)[:8]:
                if rng.uniform() < 0.3:
                    continue
                picture = self._face(rng)
                row = picture.faces[0]
                reach = row[2] * rng.uniform(0.6, 0.85)
                near = (*(row[:2] - reach), *(row[:2] + reach))
                place = np.array([x, y]) + rng.normal(0, 0.1 * side, 2)
                scale = side * np.exp(rng.normal(0, 0.12)) / row[2]
                if canvas.free(place, 0.4 * scale * row[2]):
                    canvas.paste(picture, scale, _angle(rng), rng.uniform() < 0.5, row[:2], place, near)

    def _cover(self, image: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> None:
        """A mask over mouth and nose, glasses, a hand or a thing before a part of a face; its box stays."""
        side, kind = row[2], rng.uniform()
        if kind < 0.3:  # a mask
            middle, half = row[:2] + side * np.array([0, rng.uniform(0.2, 0.32)]), side * np.array([0.42, 0.22])
        elif kind < 0.5:  # glasses
            middle, half = row[:2] - side * np.array([0, rng.uniform(0.18, 0.32)]), side * np.array([0.38, 0.10])
        else:
            angle = rng.uniform(0, 2 * np.pi)
            middle = row[:2] + side * rng.uniform(0.25, 0.55) * np.array([np.cos(angle), np.sin(angle)])
            half = side * rng.uniform(0.12, 0.32, 2)
        if rng.uniform() < 0.5:
            colour = rng.integers(0, 256, 3) if rng.uniform() < 0.6 else np.array([215, 165, 140]) * rng.uniform(0.3, 1)
            centre, axes = np.rint(middle).astype(int), np.maximum(1, np.rint(half)).astype(int)
            turn = rng.normal(0, 8) if kind < 0.5 else rng.uniform(0, 180)
            paint = tuple(float(c) for c in colour)
            if rng.uniform() < 0.5:
                cv2.ellipse(image, centre.tolist(), axes.tolist(), turn, 0, 360, paint, -1, cv2.LINE_AA)
            else:
                box = cv2.boxPoints((middle.tolist(), (2 * half).tolist(), turn))
                cv2.fillConvexPoly(image, np.rint(box * 16).astype(np.int32), paint, cv2.LINE_AA, shift=4)
            return
        x0, y0 = (int(max(0, v)) for v in middle - half)
        x1, y1 = (int(min(self.size, v)) for v in middle + half)
        picture = self.backgrounds[int(rng.integers(len(self.backgrounds)))].halves[0]
        if min(x1 - x0, y1 - y0) < 2 or picture.shape[0] <= y1 - y0 or picture.shape[1] <= x1 - x0:
            return
        top, left = (int(rng.integers(n - m)) for n, m in zip(picture.shape[:2], (y1 - y0, x1 - x0), strict=True))
        image[y0:y1, x0:x1] = picture[top : top + y1 - y0, left : left + x1 - x0]

    def _rectangle(self, canvas: _Canvas, rng: np.random.Generator) -> None:
        chance = rng.uniform()
        if chance < PART:  # a part of a head, no face: none of it within 0.3 sides of the face's centre
            picture = self._face(rng)
            row, angle = picture.faces[0], rng.uniform(0, 2 * np.pi)
            centre = row[:2] + row[2] * rng.uniform(0.6, 0.8) * np.array([np.cos(angle), np.sin(angle)])
            extent = row[2] * rng.uniform(0.15, 0.3)
            if (centre < 0).any() or (centre > np.array(picture.image.shape[1::-1]) - 1).any():
                return
            scale = self._side(rng) / (2 * extent)
            near = centre - extent, centre + extent
        elif chance < PART + EMPTY:  # without a face
            picture = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
            height, width = picture.image.shape[:2]
            centre, extent = rng.uniform(0.2, 0.8, 2) * [width, height], rng.uniform(0.1, 0.4) * max(height, width)
            scale = self._side(rng) / extent
            near = centre - extent * rng.uniform(0.3, 1, 2), centre + extent * rng.uniform(0.3, 1, 2)
        else:
            picture = self._face(rng)
            row = picture.faces[0]
            centre, scale = row[:2], min(self._side(rng), 0.6 * self.size) / row[2]
            near = centre - row[2] * rng.uniform(0.55, 1.5, 2), centre + row[2] * rng.uniform(0.55, 1.5, 2)
        for _ in range(4):
            place = rng.uniform(0, 1, 2) * self.size
            reach = scale * max(np.abs(near[0] - centre).max(), np.abs(near[1] - centre).max())
            if canvas.free(place, reach):
                canvas.paste(picture, scale, _angle(rng), rng.uniform() < 0.5, centre, place, (*near[0], *near[1]))
                return


def turned(picture: FacePicture, quarters: int) -> FacePicture:
    """An image turned by quarters of a circle against the clock; its faces may be seen, they need not."""
    rows = np.concatenate([picture.faces[:, :3], picture.unsure])
    width = picture.image.shape[1]
    for k in range(quarters):
        rows = np.stack([rows[:, 1], width - 1 - rows[:, 0], rows[:, 2]], axis=1)
        width = picture.image.shape[k % 2]
    image = np.ascontiguousarray(np.rot90(picture.image, quarters))
    return FacePicture(image, np.zeros((0, 13)), rows, picture.group)


class _Canvas:
    """An image in the making and what is known to be in it."""

    def __init__(self, size: int):
        self.size = size
        self.image = np.zeros((size, size, 3), np.uint8)
        self.faces: list[np.ndarray] = []
        self.unsure: list[np.ndarray] = []

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Faces (N, 13) and what may be faces (M, 3)."""
        return np.array(self.faces).reshape(-1, 13), np.array(self.unsure).reshape(-1, 3)

    def free(self, place: np.ndarray, reach: float) -> bool:
        """Whether a square of half side `reach` at `place` hides no face."""
        taken = [*self.faces, *self.unsure]
        return all(np.abs(row[:2] - place).max() > reach + 0.6 * row[2] for row in taken)

    def paste(
        self,
        picture: FacePicture,
        scale: float,
        angle: float,
        flip: bool,
        centre: np.ndarray,
        place: np.ndarray,
        window: Window | None,
    ) -> None:
        """The part `window` of an image, its point `centre` at `place`, scaled, turned and mirrored."""
        turn = geometry.similarity(angle, scale, (0, 0), flip)[:, :2]
        affine = np.column_stack([turn, place - turn @ centre])
        x0, y0, x1, y1 = window or (-1e9, -1e9, 1e9, 1e9)
        height, width = picture.image.shape[:2]
        x0, y0, x1, y1 = max(x0, -0.5), max(y0, -0.5), min(x1, width - 0.5), min(y1, height - 0.5)
        level = int(np.clip(np.floor(np.log2(1 / scale)), 0, len(picture.halves) - 1))
        factor = 2**level
        shift = (factor - 1) / 2
        inner = geometry.compose(affine, np.array([[factor, 0, shift], [0, factor, shift]]))
        source = picture.halves[level]
        warped = cv2.warpAffine(source, inner, (self.size, self.size), flags=cv2.INTER_LINEAR)
        mask = np.zeros((self.size, self.size), np.uint8)
        corners = geometry.apply(affine, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        cv2.fillConvexPoly(mask, np.rint(corners * 16).astype(np.int32), 1, shift=4)
        cv2.copyTo(warped, mask, self.image)
        for kind, rows in ((self.faces, picture.faces), (self.unsure, picture.unsure)):
            for row in rows:
                if x0 <= row[0] <= x1 and y0 <= row[1] <= y1:
                    self._keep(kind, row, affine, scale, flip, abs(angle))

    def _keep(
        self, kind: list[np.ndarray], row: np.ndarray, affine: np.ndarray, scale: float, flip: bool, angle: float
    ) -> None:
        moved = row.copy()
        moved[:2] = geometry.apply(affine, row[:2])
        if (moved[:2] < -0.5).any() or (moved[:2] > self.size - 0.5).any():
            return
        # the upright box of a turned face is a little larger
        moved[2] = row[2] * scale * (1 + 0.15 * np.sin(angle))
        if len(row) > 3:
            points = geometry.apply(affine, row[3:].reshape(5, 2))
            moved[3:] = (points[[1, 0, 2, 4, 3]] if flip else points).reshape(-1)
        kind.append(moved)


def _angle(rng: np.random.Generator) -> float:
    """Radians: most images stay upright."""
    return float(rng.normal(0, 0.3)) if rng.uniform() < 0.4 else 0.0


def _recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and colours as cameras and rooms have them; sometimes grey, blurred or noisy."""
    if rng.uniform() < 0.12:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.uniform() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    levels = np.arange(256.0)[:, None]
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    # black stays black as often as not: that is what lies outside of a photograph
    shift = rng.normal(0, 12) if rng.uniform() < 0.5 else 0.0
    extreme = rng.uniform()
    if extreme < 0.10:  # dark
        gain = gain * np.exp(rng.uniform(np.log(0.15), np.log(0.5)))
    elif extreme < 0.17:  # over-exposed
        gain, shift = gain * np.exp(rng.uniform(0.2, 0.9)), rng.uniform(0, 40)
    elif extreme < 0.21:  # as behind glass or in mist
        gain, shift = gain * rng.uniform(0.25, 0.6), rng.uniform(20, 120)
    table = np.clip(levels * gain + shift, 0, 255) / 255
    if rng.uniform() < 0.3:
        table = table ** np.exp(rng.normal(0, 0.4))
    image = cv2.LUT(image, np.rint(255 * table).astype(np.uint8)[:, None])
    if rng.uniform() < 0.12:  # light from one side
        slope = rng.uniform(-1, 1, 2)
        line = np.linspace(-1, 1, len(image), dtype=np.float32)
        light = np.clip(1 + slope[0] * line[:, None] + slope[1] * line, 0.1, 2)
        image = np.clip(image * light[..., None], 0, 255).astype(np.uint8)
    if rng.uniform() < 0.2:
        start = rng.integers(len(_NOISE) - image.size)
        noise = _NOISE[start : start + image.size].reshape(image.shape) * np.float32(rng.uniform(2, 10))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


#: drawing as many normal numbers for every image would take longer than all the rest
_NOISE = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
