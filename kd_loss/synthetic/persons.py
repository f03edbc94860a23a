"""Drawn persons: shape, skin, hair and brows are a person's own; pose, expression, light and glasses change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from kd_loss.synthetic.face_painter import GLASSES, OF_A_PERSON, PARTS, paint_face, skin_and_hair
from kd_loss.synthetic.face_shape import FaceShape

#: the numbers of a face's shape that change from image to image
FREE = ("eye_open", "mouth_open", "smile", "gaze", "yaw", "pitch", "roll")


@dataclass(frozen=True)
class DrawnPicture:
    """An image (S, S, 3) uint8 RGB of a drawn person, and what is known of it: yaw, skin, hair, glasses."""

    image: np.ndarray
    attributes: dict[str, float]


def draw_person(canvas: int, seed: int, person: int, picture: int) -> DrawnPicture:
    """Draw one image of a person; the same numbers give the same image.

    Args:
        canvas: side of the image in pixels; the face takes about half of it.
        seed: of all persons.
        person: its number, from 0.
        picture: its number, from 0.
    """

    def part(name: str) -> np.random.Generator:
        own = (person,) if name in OF_A_PERSON else (person, picture)
        return np.random.default_rng((seed, *own, 1000 + PARTS.index(name)))

    rng = np.random.default_rng((seed, person, picture))
    shape = FaceShape.draw(np.random.default_rng((seed, person)))
    seen = FaceShape.draw(rng)
    face = dataclasses.replace(shape, **{name: getattr(seen, name) for name in FREE})
    scale = canvas * rng.uniform(0.25, 0.29)
    origin = np.array([canvas / 2, canvas * 0.44]) + rng.uniform(-0.03, 0.03, 2) * canvas
    *_, skin, hair = skin_and_hair(part("colours"))
    attributes = {
        "yaw": face.yaw,
        "skin": float(skin),
        "hair": float(hair),
        "glasses": float(part("extras").random() < GLASSES),
    }
    return DrawnPicture(paint_face(face, canvas, scale, origin, rng, part), attributes)
