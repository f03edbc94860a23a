"""Clips of drawn faces: one face of fixed appearance, with pose and expression changing from frame to frame."""

from __future__ import annotations

import dataclasses

import numpy as np

from kd_loss.synthetic.face_painter import paint_face
from kd_loss.synthetic.face_shape import FaceShape


def draw_clip(canvas: int, seed: int, index: int, frames: int) -> np.ndarray:
    """Draw frames (frames, canvas, canvas, 3) uint8 RGB of face `index` of a seed, moving along half a circle.

    It turns and nods by up to 25°, opens its mouth, and its place shifts by up to 6 % of the image.
    """
    rng = np.random.default_rng((seed, index, 7))
    start = FaceShape.draw(rng)
    scale = canvas * rng.uniform(0.23, 0.27)
    origin = np.array([canvas / 2, canvas * 0.46])
    swing = rng.uniform(-1, 1, 6)
    looks = rng.bit_generator.state
    pictures = []
    for angle in np.linspace(0, np.pi, frames):
        yaw, pitch, roll, dx, dy, mouth = swing * np.sin(angle + np.arange(6))
        face = dataclasses.replace(
            start,
            yaw=0.3 * start.yaw + 25 * yaw,
            pitch=0.3 * start.pitch + 12 * pitch,
            roll=0.3 * start.roll + 18 * roll,
            mouth_open=0.06 + 0.5 * abs(mouth),  # a fully closed mouth would draw different random numbers
        )
        rng.bit_generator.state = looks  # the same background, hair and light in every frame
        pictures.append(paint_face(face, canvas, scale, origin + 0.06 * canvas * np.array([dx, dy]), rng))
    return np.stack(pictures)
