"""Draws a parametric face with OpenCV: skin, hair, eyes, brows, nose, lips, glasses, light, occluders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from kd_loss.synthetic.face_shape import FaceShape

#: the parts of a painting that have random numbers of their own, those of the person first
OF_A_PERSON = ("colours", "head", "beard", "mouth", "eyes", "fringe")
PARTS = (*OF_A_PERSON, "background", "extras", "light")
#: share of faces with glasses
GLASSES = 0.15
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_T9, _T13, _T17 = (np.linspace(0, 1, n) for n in (9, 13, 17))
_T24, _T32 = np.arange(24) / 12, np.arange(32) / 16
_SKIN = np.array([[246, 214, 190], [228, 184, 150], [198, 146, 108], [150, 100, 70], [96, 62, 44]], float)
_HAIR = np.array([[25, 20, 18], [70, 45, 28], [120, 82, 45], [190, 150, 90], [150, 60, 30], [170, 170, 170]], float)


class _Canvas:
    """A canvas on which the curves of the face are drawn."""

    def __init__(self, face: FaceShape, size: int, scale: float, origin: np.ndarray, image: np.ndarray):
        self.face, self.size, self.scale, self.origin, self.image = face, size, scale, origin, image

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points of the face (n, 3) to OpenCV's fixed-point pixels (n, 2)."""
        pixels = self.face.rotate(points) * self.scale + self.origin
        return (pixels * (1 << _SHIFT) + 0.5).astype(np.int32)

    def fill(self, points: np.ndarray, colour: Any) -> None:
        cv2.fillPoly(self.image, [self.project(points)], _rgb(colour), cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, colour: Any, width: float, closed: bool = False) -> None:
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.image, [self.project(points)], closed, _rgb(colour), thickness, cv2.LINE_AA, _SHIFT)

    def ellipse(self, centre: np.ndarray, rx: float, ry: float, colour: Any) -> None:
        x, y = self.project(centre[None])[0]
        unit = self.scale * (1 << _SHIFT)
        axes = (max(1, int(rx * unit)), max(1, int(ry * unit)))
        cv2.ellipse(self.image, (int(x), int(y)), axes, self.face.roll, 0, 360, _rgb(colour), -1, cv2.LINE_AA, _SHIFT)


def _rgb(colour: Any) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, int(value))) for value in colour)
    return r, g, b


def _calm(colours: np.ndarray, strength: float) -> np.ndarray:
    """Desaturate colours: most backgrounds are duller than random colours."""
    grey = colours.mean(axis=-1, keepdims=True)
    return (grey + (colours - grey) * strength).astype(np.uint8)


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw soft blobs, with a few straight edges over them half of the time."""
    cells = int(rng.integers(2, 9))
    image = cv2.resize(
        _calm(rng.integers(0, 256, (cells, cells, 3), np.uint8), rng.random()),
        (size, size),
        interpolation=cv2.INTER_CUBIC,
    )
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 5))):
            a, b = rng.integers(0, size, (2, 2)).tolist()
            cv2.rectangle(image, a, b, rng.integers(0, 256, 3).tolist(), -1)
    return image


def _head(c: _Canvas, skin: np.ndarray, hair: np.ndarray, rng: np.random.Generator) -> None:
    """Draw the hair behind the head, the neck, ears and face."""
    face = c.face
    if rng.random() < 0.85:
        long = rng.random() < 0.4
        outline = np.concatenate([face.forehead(17) * [1.14, 1.14, 1], face.jaw_line(17) * [1.12, 0.2, 1]])
        if long:
            outline = np.concatenate(
                [face.forehead(17) * [1.2, 1.12, 1], face.jaw_line(17) * [1.25, 1.15, 1] - [0, 0, 0.6]]
            )
        c.fill(outline - [0, 0, 0.25], hair)
    neck, low = 0.55 * face.width, face.chin + 1.2
    c.fill(
        np.array([[-neck, 0.7, -0.5], [neck, 0.7, -0.5], [neck * 1.1, low, -0.5], [-neck * 1.1, low, -0.5]]),
        skin * 0.72,
    )
    shirt = rng.uniform(20, 230, 3)
    c.fill(
        np.array([[-0.7, face.chin + 0.45, -0.5], [0.7, face.chin + 0.45, -0.5], [2.4, 4, -0.5], [-2.4, 4, -0.5]]),
        shirt,
    )
    for side in (-1, 1):
        c.ellipse(np.array([side * face.width * 0.99, 0.12, -0.45]), 0.11, 0.24, skin * 0.88)
    c.fill(np.concatenate([face.jaw_line(49), face.forehead(25)]), skin)
    c.line(face.jaw_line(49), skin * 0.8, 0.025)


def _shade(c: _Canvas, skin: np.ndarray, rng: np.random.Generator) -> None:
    """Shade cheeks, eye sockets and the sides of the nose; add a beard one time in six."""
    face = c.face
    for side in (-1, 1):
        if side * face.yaw < 12:  # the far cheek is out of sight
            c.ellipse(np.array([side * 0.55 * face.width, 0.5, 0.15]), 0.2, 0.16, skin * [1.02, 0.93, 0.92])
        c.ellipse(np.array([side * face.eye_distance, -0.02, 0.2]), face.eye_size * 1.35, 0.17, skin * 0.9)
    if rng.random() < 0.17:
        jaw = face.jaw_line(33)[6:27]
        upper = jaw[::-1] * [0.75, 1, 1]
        upper[:, 1] = np.minimum(upper[:, 1], face.nose_length + 0.22)
        c.fill(np.concatenate([jaw, upper]), skin * rng.uniform(0.45, 0.75))


def _eyes(c: _Canvas, hair: np.ndarray, skin: np.ndarray, rng: np.random.Generator) -> None:
    face = c.face
    iris = rng.uniform((20, 30, 30), (130, 130, 190))
    for side in (-1, 1):
        outline = face.eye(side, _T24)
        c.fill(outline, (238, 236, 232))
        # the iris shows only within the lids
        polygon = c.project(outline)
        low = np.maximum(polygon.min(axis=0) // (1 << _SHIFT) - 1, 0)
        high = np.minimum(polygon.max(axis=0) // (1 << _SHIFT) + 2, c.size)
        if (high <= low).any():
            continue
        window = c.image[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(window.shape[:2], np.uint8)
        cv2.fillPoly(mask, [polygon - low * (1 << _SHIFT)], 255, cv2.LINE_8, _SHIFT)
        before = window.copy()
        centre = face.pupil(side)[0]
        c.ellipse(centre, face.eye_size * 0.42, face.eye_size * 0.42, iris)
        c.ellipse(centre, face.eye_size * 0.2, face.eye_size * 0.2, (12, 12, 14))
        c.ellipse(centre + [0.02, -0.025, 0], 0.016, 0.016, (250, 250, 250))
        window[:] = np.where(mask[..., None] > 0, window, before)
        lid = face.eye(side, _T13)
        c.line(lid, skin * 0.3, 0.03)
        c.line(face.eye(side, 1 + _T13), skin * 0.6, 0.012)
        c.line(lid - [0, 0.055, 0], skin * 0.75, 0.012)
        c.fill(np.concatenate([face.brow(side, _T9, True), face.brow(side, _T9[::-1], False)]), hair * 0.75)


def _nose(c: _Canvas, skin: np.ndarray) -> None:
    face = c.face
    ridge, base = face.bridge(4), face.nose_base(9)
    dark_side = 1 if face.yaw < 0 else -1
    c.fill(np.array([ridge[0], ridge[3], base[-1 if dark_side > 0 else 0]]), skin * 0.86)
    c.line(ridge, np.minimum(skin * 1.12, 255), 0.045)
    c.ellipse(ridge[3] + [0, 0.01, 0], 0.075, 0.065, np.minimum(skin * 1.1, 255))
    for end, side in ((0, -1), (-1, 1)):
        c.line(
            np.array([base[end] - [0.02 * side, 0.14, 0], base[end] - [-0.015 * side, 0.05, 0], base[end]]),
            skin * 0.62,
            0.022,
        )
        c.ellipse(base[2 if side < 0 else 6] - [0, 0.025, 0], 0.045, 0.022, skin * 0.35)
    c.line(base, skin * 0.6, 0.02)


def _mouth(c: _Canvas, skin: np.ndarray, rng: np.random.Generator) -> None:
    face = c.face
    lips = np.clip(skin * rng.uniform((0.75, 0.45, 0.45), (1.0, 0.68, 0.7)), 0, 255)
    c.fill(face.lip(_T32, False), lips)
    inner = face.lip(_T32, True)
    c.fill(inner, (60, 22, 22))
    if face.mouth_open > 0.05 and rng.random() < 0.8:
        top = face.lip(0.08 + 0.84 * _T9, True)
        c.fill(np.concatenate([top, top[::-1] + [0, 0.07, 0]]), (240, 238, 228))
    c.line(face.lip(_T17, True), lips * 0.5, 0.014)


def _fringe(c: _Canvas, hair: np.ndarray, rng: np.random.Generator) -> None:
    """Draw hair over the forehead, three times in four."""
    face = c.face
    if rng.random() < 0.75:
        low = rng.uniform(-0.85, -0.55)
        t = np.linspace(-1, 1, 9)
        wave = low + 0.12 * rng.uniform(-1, 1, 9) + 0.35 * np.abs(t) ** 4
        fringe = np.column_stack([t * face.width * 0.98, wave, 0.2 - 0.6 * np.abs(t) ** 1.6])
        c.fill(np.concatenate([fringe, face.forehead(17) * [1.06, 1.1, 1]]), hair)


def _extras(c: _Canvas, rng: np.random.Generator) -> None:
    """Draw glasses and an occluder in front of the face."""
    face = c.face
    if rng.random() < GLASSES:
        frame = rng.uniform(0, 120, 3)
        t = np.linspace(0, 2 * np.pi, 21)[:-1]
        power = rng.uniform(0.5, 1.0)
        for side in (-1, 1):
            x = face.eye_distance * side + 0.3 * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
            y = 0.03 + 0.23 * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power
            c.line(np.column_stack([x, y, np.full_like(t, 0.36)]), frame, 0.03, closed=True)
            c.line(np.array([[side * (face.eye_distance + 0.3), 0, 0.36], [side * face.width, 0, -0.5]]), frame, 0.03)
        c.line(np.array([[-0.13, 0, 0.42], [0.13, 0, 0.42]]), frame, 0.03)
    if rng.random() < 0.2:
        at = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.3, 1.3), 0.8])
        c.ellipse(at, rng.uniform(0.12, 0.42), rng.uniform(0.12, 0.42), rng.uniform(0, 255, 3))


def _light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a gradient of light across the image, sensor noise, and blur one time in five."""
    size = image.shape[0]
    corners = rng.uniform(0.55, 1.25, (2, 2)).astype(np.float32) * rng.uniform(0.8, 1.1)
    gain = np.round(cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR) * 128).astype(np.uint8)
    image = cv2.multiply(image, cv2.merge([gain] * 3), scale=1 / 128)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), size * rng.uniform(0.003, 0.01))
    level = int(rng.integers(2, 10))
    noise = rng.integers(0, 2 * level, image.shape, np.uint8)
    return cv2.subtract(cv2.add(image, noise), np.full_like(image, level))


def skin_and_hair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Draw the colours of skin and hair, (3,) each, and the number of their tones: 0…3 and 0…5."""
    mix, tone = rng.random(), int(rng.integers(0, len(_SKIN) - 1))
    skin = (_SKIN[tone] * mix + _SKIN[tone + 1] * (1 - mix)) * rng.uniform(0.92, 1.06, 3)
    kind = int(rng.integers(len(_HAIR)))
    return skin, _HAIR[kind] * rng.uniform(0.8, 1.2), tone, kind


def paint_face(
    face: FaceShape,
    size: int,
    scale: float,
    origin: np.ndarray,
    rng: np.random.Generator,
    part: Callable[[str], np.random.Generator] | None = None,
) -> np.ndarray:
    """Paint a face as (size, size, 3) uint8 RGB; `rng` decides the appearance that `face` does not define.

    `part`: the generator of each of `PARTS`, in place of `rng`: with the same ones for `OF_A_PERSON`, several images
    show one person.
    """
    part = part or (lambda _: rng)
    canvas = _Canvas(face, size, scale, origin, _background(size, part("background")))
    skin, hair, *_ = skin_and_hair(part("colours"))
    _head(canvas, skin, hair, part("head"))
    _shade(canvas, skin, part("beard"))
    _nose(canvas, skin)
    _mouth(canvas, skin, part("mouth"))
    _eyes(canvas, hair, skin, part("eyes"))
    _fringe(canvas, hair, part("fringe"))
    _extras(canvas, part("extras"))
    return _light(canvas.image, part("light"))
