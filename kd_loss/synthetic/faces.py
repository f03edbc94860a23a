"""Drawn faces in every benchmark's scheme: the embedded dataset.

A face is a handful of curves (`face_shape`), so that the three schemes are different samplings of the same
curves and the points sit on what `face_painter` draws.
"""

from __future__ import annotations

import numpy as np

from kd_loss.schemes.base import HeadPlacement
from kd_loss.synthetic.face_painter import paint_face
from kd_loss.synthetic.face_shape import Curve, FaceShape


def landmarks_3d(face: FaceShape, scheme: str) -> Curve:
    """Return the landmarks (K, 3) of a scheme: `w300` (68), `cofw` (29) or `wflw` (98)."""
    five, seven = np.linspace(0, 1, 5), np.linspace(0, 2, 13)[:-1]
    lips = [face.lip(seven, False), face.lip(np.linspace(0, 2, 9)[:-1], True)]
    nose = [face.bridge(4), face.nose_base(5)]
    if scheme == "w300":
        six = np.linspace(0, 2, 7)[:-1]
        brows = [face.brow(side, five, True) for side in (-1, 1)]
        return np.concatenate([face.jaw_line(17), *brows, *nose, face.eye(-1, six), face.eye(1, six), *lips])
    if scheme == "wflw":
        eight = np.linspace(0, 2, 9)[:-1]
        below = {-1: np.linspace(1, 0.25, 4), 1: np.linspace(1, 0.25, 4)}
        brows = [
            part for side in (-1, 1) for part in (face.brow(side, five, True), face.brow(side, below[side], False))
        ]
        # the lower edge has four points: on the left brow of the image from its inner end, on the
        # right one from its outer end, so that 38…41 and 50…47 mirror each other
        brows[3] = face.brow(1, np.linspace(0.75, 0, 4), False)
        eyes = [face.eye(-1, eight), face.eye(1, eight)]
        return np.concatenate([face.jaw_line(33), *brows, *nose, *eyes, *lips, face.pupil(-1), face.pupil(1)])
    return _cofw(face)


def _cofw(face: FaceShape) -> Curve:
    def brow(side: int, t: float, upper: bool = True) -> Curve:
        return face.brow(side, np.array([t]), upper)

    def eye(side: int, t: float) -> Curve:
        return face.eye(side, np.array([t]))

    def lip(t: float, inner: bool = False) -> Curve:
        return face.lip(np.array([t]), inner)

    base, ridge = face.nose_base(5), face.bridge(4)
    return np.concatenate(
        [
            *(brow(-1, 0), brow(1, 1), brow(-1, 1), brow(1, 0)),
            *(brow(-1, 0.5), brow(-1, 0.5, False), brow(1, 0.5), brow(1, 0.5, False)),
            *(eye(-1, 0), eye(1, 1), eye(-1, 1), eye(1, 0)),
            *(eye(-1, 0.5), eye(-1, 1.5), eye(1, 0.5), eye(1, 1.5)),
            *(face.pupil(-1), face.pupil(1), base[:1], base[4:], ridge[3:], base[2:3]),
            *(lip(0), lip(1), lip(0.5), lip(0.5, True), lip(1.5, True), lip(1.5)),
            face.jaw_line(3)[1:2],
        ]
    )


def _begin(canvas: int, seed: int, index: int) -> tuple[FaceShape, float, np.ndarray, np.random.Generator]:
    """Return a face, its scale (pixels per unit), the position of its origin, and the generator of its appearance."""
    rng = np.random.default_rng((seed, index))
    face = FaceShape.draw(rng)
    scale = canvas * rng.uniform(0.25, 0.29)
    origin = np.array([canvas / 2, canvas * 0.44]) + rng.uniform(-0.03, 0.03, 2) * canvas
    return face, scale, origin, rng


def face_landmarks(scheme: str, canvas: int, seed: int, index: int) -> np.ndarray:
    """Return the landmarks (K, 2), in pixels, of face `index` of a seed."""
    face, scale, origin, _ = _begin(canvas, seed, index)
    return face.rotate(landmarks_3d(face, scheme)) * scale + origin


def face_place(canvas: int, seed: int, index: int) -> HeadPlacement:
    """Return the exact pose of face `index` of a seed: the head turns about its middle, on the camera's axis.

    A head is two units wide, whatever the person's own width.
    """
    face, scale, origin, _ = _begin(canvas, seed, index)
    x, y = face.middle * scale + origin
    return HeadPlacement(face.rotation, (float(x), float(y)), 2 * scale)


def draw_face(canvas: int, seed: int, index: int) -> np.ndarray:
    """Draw the image (canvas, canvas, 3) uint8 RGB of face `index` of a seed, the same in every scheme."""
    face, scale, origin, rng = _begin(canvas, seed, index)
    return paint_face(face, canvas, scale, origin, rng)


def drawing_side(size: int, margin: float) -> int:
    """Return the side of the drawings in pixels for which crops are about `size` px."""
    # a face is about two units wide and the scale about 0.27 of the canvas
    return max(32, round(size / (0.27 * 2 * (1 + 2 * margin))))
