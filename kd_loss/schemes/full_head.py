"""All 68 points and AFLW's 21 on the generic head: the view of it that fits a few annotated points.

A face of AFLW has as few as two of the 68 points; the box of those says nothing about the face. The head of
`generic_head`, completed by jaw, brows and mouth, is looked at from many sides; the side from which it fits the
annotated points best gives the rest, accurately enough for a crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.benchmarks import AFLW21
from kd_loss.schemes.generic_head import POINTS

#: index of the 68 -> position as in `generic_head.POINTS`, the subject's right half and the middle
_RIGHT = {
    **{0: (-340, -150, 440), 1: (-335, -60, 430), 2: (-325, 25, 410), 3: (-302, 110, 375), 4: (-265, 190, 325)},
    **{5: (-215, 255, 255), 6: (-155, 300, 180), 7: (-80, 325, 100)},
    **{17: (-275, -235, 170), 18: (-235, -275, 115), 19: (-175, -290, 85), 20: (-110, -280, 65), 21: (-50, -255, 60)},
    **{37: (-180, -190, 105), 38: (-125, -190, 100), 40: (-125, -150, 105), 41: (-180, -150, 110)},
    **{49: (-90, 118, 85), 50: (-38, 103, 60), 59: (-85, 185, 90), 58: (-42, 202, 70)},
    **{60: (-130, 150, 115), 61: (-45, 140, 75), 67: (-45, 158, 80)},
}
_MIDDLE = {51: (0, 110, 55), 57: (0, 207, 65), 62: (0, 140, 68), 66: (0, 160, 72)}
_PARTNER = {
    **{i: 16 - i for i in range(8)},
    **{17 + i: 26 - i for i in range(5)},
    **{37: 44, 38: 43, 40: 47, 41: 46, 49: 53, 50: 52, 59: 55, 58: 56, 60: 64, 61: 63, 67: 65},
}


def _full() -> np.ndarray:
    places = {**POINTS, **_RIGHT, **_MIDDLE, **{_PARTNER[i]: (-x, y, z) for i, (x, y, z) in _RIGHT.items()}}
    return np.array([places[i] for i in range(68)], np.float64)


#: (68, 3) x right, y down, z away from the camera, in fifths of a millimetre
FULL = _full()


def _of_aflw() -> np.ndarray:
    """AFLW's 21 points: those of the 68 moved by what the two annotations differ on faces from the front.

    Measured on 660 faces of less than 15 degrees of yaw (docs/experiments/sides.md), about 9 units per % of the crop.
    """
    right = {
        **{0: FULL[17] + (12, -13, 0), 1: FULL[19] + (-10, 12, 0), 2: FULL[21] + (-30, 0, 5)},
        **{6: FULL[36] + (-8, -2, 0), 7: FULL[[37, 38, 40, 41]].mean(axis=0) + (-4, -3, 0), 8: FULL[39] + (-4, -5, 0)},
        **{12: FULL[0] + (12, 177, 30), 13: FULL[31] + (-10, -21, 0), 17: FULL[48] + (10, 0, -5)},
    }
    middle = {14: FULL[30] + (0, 14, 0), 18: FULL[[62, 66]].mean(axis=0), 20: FULL[8] + (0, -17, 0)}
    partner = {0: 5, 1: 4, 2: 3, 6: 11, 7: 10, 8: 9, 12: 16, 13: 15, 17: 19}
    places = {**right, **middle, **{partner[i]: point * (-1, 1, 1) for i, point in right.items()}}
    return np.array([places[i] for i in range(21)])


AFLW = _of_aflw()


@dataclass(frozen=True)
class HeadView:
    """The view of the head that fits a face.

    Attributes:
        yaw: degrees, positive: the face looks to the right of the image; pitch: positive: it looks up.
        roll: degrees, positive: it leans clockwise in the image, after yaw and pitch.
        points: (68, 2) the head's points in the image, in pixels.
        own: (21, 2) AFLW's points of the head there.
        misfit: root mean square distance of the annotated points from the head's, in head widths.
    """

    yaw: float
    pitch: float
    roll: float
    points: np.ndarray
    own: np.ndarray
    misfit: float


YAWS = np.arange(-90, 91, 10)
PITCHES = np.arange(-30, 31, 15)


@lru_cache(maxsize=1)
def _bank() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles (V, 2), and the 21 and the 68 points (V, …, 2) of each view, upright, in head widths."""
    angles = np.array([(yaw, pitch) for yaw in YAWS for pitch in PITCHES], np.float64)
    middle = FULL.mean(axis=0)
    own, full = [], []
    for yaw, pitch in np.radians(angles):
        turn = to_matrices(np.array([-pitch, 0, 0])) @ to_matrices(np.array([0, -yaw, 0]))
        own.append((((AFLW - middle) / 680) @ turn.T)[:, :2])
        full.append((((FULL - middle) / 680) @ turn.T)[:, :2])
    return angles, np.array(own), np.array(full)


def fit_head(points: np.ndarray) -> HeadView:
    """Fit the head to the annotated ones of AFLW's 21 or of the 68 points (K, 2) in pixels; the others are NaN.

    At least two are known, which do not lie in one place.
    """
    seen = np.isfinite(points[:, 0])
    angles, own, full = _bank()
    source = (own if len(points) == len(AFLW) else full)[:, seen]
    target = points[seen]
    centre, middle = source.mean(axis=1, keepdims=True), target.mean(axis=0)
    a, b = source - centre, target - middle
    size = np.square(a).sum(axis=(1, 2))
    c = (a * b).sum(axis=(1, 2)) / size
    s = (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(axis=1) / size
    turn = np.stack([np.stack([c, -s], 1), np.stack([s, c], 1)], 1)
    scale = np.sqrt(c**2 + s**2)
    apart = np.einsum("vij,vkj->vki", turn, a) - b
    misfit = np.sqrt(np.square(apart).sum(axis=2).mean(axis=1)) / np.maximum(scale, 1e-9)
    # few points fit several sides: the least tilted of them
    cost = misfit**2 + 4e-4 * (angles[:, 1] / 30) ** 2 + 1e-4 * (angles[:, 0] / 90) ** 2
    best = int(cost.argmin())

    def place(values: np.ndarray) -> np.ndarray:
        return np.asarray((values - centre[best]) @ turn[best].T + middle)

    yaw, pitch = angles[best]
    roll = float(np.degrees(np.arctan2(s[best], c[best])))
    return HeadView(float(yaw), float(pitch), roll, place(full[best]), place(own[best]), float(misfit[best]))


def aflw_as_68(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Translate AFLW's 21 points (21, 2), NaN where not annotated, at least two known, to the 68.

    A point that both have is moved by what their annotations differ, as seen from the face's side.

    Returns:
        landmarks (68, 2), NaN where AFLW has none; and all 68 (68, 2), roughly, to place a crop.
    """
    view = fit_head(points)
    landmarks = np.full((68, 2), np.nan)
    for own, index in enumerate(AFLW21.same["w300"]):
        if index is not None:
            landmarks[index] = points[own] + view.points[index] - view.own[own]
    return landmarks, np.where(np.isfinite(landmarks), landmarks, view.points)


#: degrees of yaw beyond which the far half of a face may be hidden
FRONTAL = 25
_SIDE = np.sign(FULL[:, 0])


def assumed_visible(points: np.ndarray) -> np.ndarray:
    """Which of a face's 68 points (68, 2) can be taken as visible, 1 or NaN: unknown.

    Annotators also marked what they could not see. From the front nearly all points are visible; of a turned face,
    those of the far half are unknown.
    """
    known = np.isfinite(points[:, 0])
    yaw = fit_head(points).yaw if known.sum() >= 6 else 0.0
    far = _SIDE * np.sign(yaw) > 0 if abs(yaw) > FRONTAL else np.zeros(68, bool)
    return np.where(known & ~far, 1.0, np.nan)
