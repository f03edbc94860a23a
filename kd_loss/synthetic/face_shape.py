"""A parametric face: a handful of curves in three dimensions, and their projection.

Units: half a face width; x to the right of the image, y down, z towards the viewer; the origin lies
between the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Curve = np.ndarray  # (n, 3)
_PIVOT = np.array([0, 0.3, -0.2])  # the head turns about it


def _stack(x: Any, y: Any, z: Any) -> Curve:
    points = np.empty((len(x), 3))
    points[:, 0], points[:, 1], points[:, 2] = x, y, z
    return points


@dataclass(frozen=True)
class FaceShape:
    """Identity, expression and pose of one face; all drawn by `draw`."""

    width: float
    jaw: float
    chin: float
    eye_distance: float
    eye_size: float
    brow_height: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lips: float
    eye_open: float
    mouth_open: float
    smile: float
    gaze: float
    yaw: float
    pitch: float
    roll: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> FaceShape:
        """Draw a random face, up to about ±40° of yaw; frontal ones are the most frequent."""
        u = rng.uniform
        return cls(
            width=u(0.9, 1.06),
            jaw=u(0.0, 0.28),
            chin=u(1.28, 1.55),
            eye_distance=u(0.40, 0.47),
            eye_size=u(0.16, 0.2),
            brow_height=u(0.2, 0.36),
            brow_arch=u(0.02, 0.12),
            nose_width=u(0.17, 0.26),
            nose_length=u(0.52, 0.66),
            mouth_width=u(0.3, 0.42),
            lips=u(0.07, 0.13),
            eye_open=float(np.clip(rng.normal(0.85, 0.3), 0.08, 1.3)),
            mouth_open=max(0.0, u(-0.3, 0.35)),
            smile=u(-0.25, 1.0),
            gaze=u(-0.4, 0.4),
            yaw=float(np.clip(rng.normal(0, 18), -42, 42)),
            pitch=float(np.clip(rng.normal(0, 9), -20, 20)),
            roll=float(np.clip(rng.normal(0, 10), -30, 30)),
        )

    def jaw_line(self, count: int) -> Curve:
        """From the ear on the left of the image over the chin to the other ear."""
        angle = np.linspace(0, np.pi, count)
        c, s = np.cos(angle), np.sin(angle)
        x = -self.width * np.sign(c) * np.abs(c) ** (1 - self.jaw) * (1 - 0.06 * s)
        return _stack(x, 0.05 + (self.chin - 0.05) * s ** (1 + self.jaw / 2), 0.25 - 0.75 * np.abs(c) ** 1.6)

    def forehead(self, count: int) -> Curve:
        """From the ear on the right of the image over the top of the head to the other ear."""
        angle = np.linspace(0, np.pi, count)
        c, s = np.cos(angle), np.sin(angle)
        return _stack(self.width * c, 0.05 - 1.12 * s, 0.1 - 0.6 * np.abs(c) ** 1.6 - 0.15 * s)

    def eye(self, side: int, t: np.ndarray) -> Curve:
        """Points of an eye's outline; t runs 0 -> 1 over the upper lid, 1 -> 2 back over the lower one.

        `side` is −1 for the eye on the left of the image; both start at the corner on the left.
        """
        t = np.asarray(t, np.float64)
        along = np.where(t <= 1, t, 2 - t)
        arc = np.sin(np.pi * along) ** 0.8
        lift = np.where(t <= 1, -0.62, 0.4) * self.eye_size * self.eye_open * arc
        x = side * self.eye_distance + self.eye_size * (2 * along - 1)
        tilt = -0.03 * side * (2 * along - 1)
        return _stack(x, lift + tilt, 0.22 - 0.18 * (np.abs(x) / self.width) ** 2 * 2)

    def pupil(self, side: int) -> Curve:
        """The centre of a pupil, (1, 3)."""
        x = side * self.eye_distance + self.gaze * self.eye_size * 0.5
        return np.array([[x, -0.08 * self.eye_size * self.eye_open, 0.16]])

    def brow(self, side: int, t: np.ndarray, upper: bool) -> Curve:
        """Points of a brow's edge; t runs from the left of the image to the right."""
        t = np.asarray(t, np.float64)
        outer = 1 - t if side < 0 else t  # 0 at the inner end, 1 at the outer one
        x = side * (self.eye_distance - 0.24 + 0.56 * outer)
        y = -self.brow_height - self.brow_arch * np.sin(np.pi * np.clip(outer * 1.1, 0, 1)) + 0.05 * outer
        thick = 0.085 * np.sin(np.pi * np.clip(0.25 + 0.75 * (1 - outer), 0, 1)) ** 0.7
        return _stack(x, y + (0 if upper else 1) * thick, 0.3 - 0.35 * (np.abs(x) / self.width) ** 2)

    def bridge(self, count: int) -> Curve:
        """The ridge of the nose, from between the eyes to its tip."""
        t = np.linspace(0, 1, count)
        return _stack(0 * t, 0.02 + (self.nose_length - 0.14) * t, 0.3 + 0.33 * t)

    def nose_base(self, count: int) -> Curve:
        """The lower edge of the nose, from nostril to nostril, left to right on the image."""
        t = np.linspace(-1, 1, count)
        y = self.nose_length - 0.04 + 0.06 * (1 - t**2)
        return _stack(self.nose_width * t, y, 0.28 + 0.14 * (1 - t**2))

    def lip(self, t: np.ndarray, inner: bool) -> Curve:
        """Points of the lips; t runs 0 -> 1 over the upper lip, left to right, and 1 -> 2 back below."""
        t = np.asarray(t, np.float64)
        along = np.where(t <= 1, t, 2 - t)
        s = 2 * along - 1
        arc = np.clip(1 - s**2, 0, 1)
        smile = self.smile
        width = self.mouth_width * (1 + 0.12 * smile - 0.25 * self.mouth_open)
        corner = (0.0 if not inner else 0.86) or 1.0
        centre = (self.nose_length + self.chin) / 2 - 0.04
        gap = self.mouth_open * (self.chin - 0.9) * 0.5
        bow = 0.35 * np.exp(-((s / 0.22) ** 2)) * (0 if inner else 1)
        thick = 0.0 if inner else self.lips
        upper = -gap * arc - thick * arc * (1 - bow)
        lower = gap * arc + thick * 1.25 * arc
        y = centre + np.where(t <= 1, upper, lower) - 0.13 * smile * (s**2 - 0.3)
        x = width * corner * s
        return _stack(x, y, 0.34 - 0.28 * s**2)

    def rotate(self, points: Curve) -> np.ndarray:
        """Turn by roll · yaw · pitch and project with mild perspective, (n, 3) -> (n, 2)."""
        moved = (points - _PIVOT) @ self._turn
        return moved[:, :2] / (1 - moved[:, 2:] / 9) + _PIVOT[:2]

    @property
    def middle(self) -> np.ndarray:
        """Project the head's centre of rotation, (2,)."""
        return _PIVOT[:2]

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3), head axes to camera axes, whose z points away from the camera."""
        away = np.diag([1.0, 1.0, -1.0])
        return away @ self._turn.T @ away

    @cached_property
    def _turn(self) -> np.ndarray:
        yaw, pitch, roll = np.deg2rad([self.yaw, self.pitch, self.roll])
        cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
        turn = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turn = turn @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        return (turn @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])).T
