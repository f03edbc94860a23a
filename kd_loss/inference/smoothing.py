"""The one-euro filter (Casiez, Roussel & Vogel, CHI 2012) for landmarks of a video.

A low-pass filter whose cutoff rises with the speed: it steadies a still face and follows a moving one.
"""

from __future__ import annotations

import numpy as np

from kd_loss.imaging.rotations import to_matrices, to_vectors

#: how the cutoff rises with the speed, in Hz per face side a second, and the cutoff of the speed itself in Hz
BETA, SPEED_CUTOFF = 20.0, 1.0


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray:
    """The weight of the new value in a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff) * seconds))


class OneEuroFilter:
    """Smooths the landmarks of one face, frame by frame.

    Args:
        cutoff: in Hz, for a face at rest; smaller is smoother.
        rate: frames per second.
        beta: see `BETA`.
    """

    def __init__(self, cutoff: float, rate: float, beta: float = BETA):
        self.cutoff, self.seconds, self.beta = cutoff, 1 / rate, beta
        self._value: np.ndarray | None = None
        self._speed = np.zeros(())

    def __call__(self, landmarks: np.ndarray, seconds: float | None = None) -> np.ndarray:
        """The smoothed landmarks (K, 2), in the same pixels; the first frame passes unchanged.

        `seconds` since the previous frame; default: from the rate.
        """
        seconds = seconds or self.seconds
        points = np.asarray(landmarks, np.float64)
        if self._value is None:
            self._value, self._speed = points, np.zeros_like(points)
            return points
        side = max(float(np.ptp(points, axis=0).max()), 1e-6)
        speed = (points - self._value) / side / seconds
        self._speed = self._speed + _share(SPEED_CUTOFF, seconds) * (speed - self._speed)
        # one cutoff for both coordinates of a point: a diagonal movement stays straight
        pace = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        self._value = self._value + _share(self.cutoff + self.beta * pace, seconds) * (points - self._value)
        return self._value


#: rise of a rotation's cutoff with its speed, in Hz per radian per second
TURN_BETA = 4.0


class RotationFilter:
    """The one-euro filter for a head: its rotation, as a quaternion on the sphere, its centre and its width.

    Rotation vectors and Euler angles cannot be averaged: they jump at the ends of their ranges.

    Args:
        cutoff, rate: as of `OneEuroFilter`.
    """

    def __init__(self, cutoff: float, rate: float):
        self.cutoff, self.seconds = cutoff, 1 / rate
        self._place = OneEuroFilter(cutoff, rate)
        self._rotation: np.ndarray | None = None
        self._speed = 0.0

    def __call__(
        self, rotation: np.ndarray, middle: np.ndarray, width: float, seconds: float | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Smoothed rotation (3, 3), centre (2,) and width in pixels; the first frame passes unchanged.

        `seconds` as of `OneEuroFilter`.
        """
        seconds = seconds or self.seconds
        half = np.array([width / 2, 0.0])
        left, right = self._place(np.stack([middle - half, middle + half]), seconds)
        if self._rotation is None:
            self._rotation = np.asarray(rotation, np.float64)
        else:
            # along the shortest arc between the two quaternions
            turn = to_vectors(self._rotation.T @ rotation)
            speed = float(np.linalg.norm(turn)) / seconds
            self._speed += float(_share(SPEED_CUTOFF, seconds)) * (speed - self._speed)
            share = _share(self.cutoff + TURN_BETA * self._speed, seconds)
            self._rotation = self._rotation @ to_matrices(share * turn)
        return self._rotation, (left + right) / 2, float(right[0] - left[0])
