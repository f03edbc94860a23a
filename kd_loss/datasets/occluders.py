"""Things drawn in front of annotated faces, so that the covered points are known: bars, hands, masks, glasses.

They are crude on purpose: flat or striped shapes with soft edges. A network that tells what they cover learns that a
point whose surroundings do not look like a face's is not visible.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from kd_loss.imaging import geometry

#: share of faces with a drawn occluder in the training of visibility
SHARE = 0.5
#: skin from light to dark, RGB
SKIN = np.array([(255, 219, 188), (234, 192, 154), (198, 142, 102), (141, 85, 54), (87, 52, 35)], np.float64)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    x, y = np.round(point).astype(int)
    return int(x), int(y)


def _bar(side: int, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rotated rectangle (phone, cup, book, scarf) anywhere on the face."""
    mask = np.zeros((side, side), np.uint8)
    middle = rng.uniform(0.1, 0.9, 2) * side
    size = rng.uniform(0.15, 0.6, 2) * side
    corners = cv2.boxPoints((tuple(middle), tuple(size), float(rng.uniform(-45, 45))))
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1, cv2.LINE_AA)
    return mask


def _hand(side: int, _: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A palm and four fingers that come from outside of the face."""
    mask = np.zeros((side, side), np.uint8)
    width = side * rng.uniform(0.06, 0.09)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    tip = rng.uniform(0.3, 0.7, 2) * side
    length = side * rng.uniform(0.2, 0.35)
    for finger in range(4):
        reach = (0.85, 1.0, 0.97, 0.8)[finger]
        start = tip + across * width * 1.1 * (finger - 1.5) - along * length * reach
        end = tip + across * width * (1.0 + 0.15 * rng.random()) * (finger - 1.5)
        cv2.line(mask, _pixel(start), _pixel(end), 1, max(2, round(width)))
    palm = tip - along * length * 1.25
    axes = (max(2, int(width * 2.4)), max(2, int(width * 2.0)))
    cv2.ellipse(mask, _pixel(palm), axes, float(np.degrees(angle)), 0, 360, 1, -1)
    cv2.line(mask, _pixel(palm), _pixel(palm - along * side), 1, max(2, int(width * 3)))
    return mask


def _mask(side: int, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask over nose and mouth: below the jaw's line where that is known (68 points), or the box's lower half."""
    mask = np.zeros((side, side), np.uint8)
    jaw = points[2:15] if len(points) == 68 else np.full((1, 2), np.nan)
    if np.isfinite(jaw).all() and np.isfinite(points[28]).all():
        top = points[27] + (points[30] - points[27]) * rng.uniform(0.3, 0.8)
        middle = points[33]
        outline = np.concatenate([(jaw - middle) * rng.uniform(0.98, 1.08) + middle, top[None]])
    else:
        x0, y0, x1, y1 = geometry.landmark_box(points)
        high = y0 + (y1 - y0) * rng.uniform(0.35, 0.55)
        low, middle = y1 + 0.04 * (y1 - y0), (x0 + x1) / 2
        third = (x1 - x0) / 3
        outline = np.array([(x0, high), (middle, high - third / 4), (x1, high), (x1 - third, low), (x0 + third, low)])
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    return mask


def _glasses(side: int, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark glasses: two discs and a bridge over the eyes, where they are known (68 points); a bar otherwise."""
    if len(points) != 68 or not np.isfinite(points[36:48]).all():
        return _bar(side, points, rng)
    mask = np.zeros((side, side), np.uint8)
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    radius = np.linalg.norm(left - right) * rng.uniform(0.3, 0.42)
    for eye in (right, left):
        cv2.circle(mask, _pixel(eye), max(1, int(radius)), 1, -1)
    cv2.line(mask, _pixel(right), _pixel(left), 1, max(1, int(radius / 4)))
    return mask


Shape = Callable[[int, np.ndarray, np.random.Generator], np.ndarray]
SHAPES: dict[str, Shape] = {"bar": _bar, "hand": _hand, "mask": _mask, "glasses": _glasses}


def _paint(kind: str, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The surface (S, S, 3) of an occluder: skin, cloth, or a stretched part of the image itself."""
    side = image.shape[0]
    if kind == "bar" and rng.random() < 0.4:  # a piece of the surroundings, turned upside down
        return np.ascontiguousarray(cv2.resize(image[: side // 3, : side // 2], (side, side))[::-1])
    if kind == "hand":
        tone = rng.uniform(0, len(SKIN) - 1.001)
        low = int(tone)
        colour = SKIN[low] + (tone - low) * (SKIN[low + 1] - SKIN[low])
    elif kind == "glasses":
        colour = np.full(3, rng.uniform(0, 60))
    elif kind == "mask" and rng.random() < 0.6:
        colour = np.array([(150, 200, 225), (240, 240, 240), (30, 30, 32)], np.float64)[rng.integers(3)]
    else:
        colour = rng.uniform(0, 256, 3)
    light = 0.4 + 1.2 * image.mean() / 255
    y, x = np.mgrid[:side, :side] / side
    shade = 1 + rng.uniform(-0.4, 0.4) * (x - 0.5) + rng.uniform(-0.4, 0.4) * (y - 0.5)
    if rng.random() < 0.3:  # stripes
        direction = rng.uniform(-1, 1, 2)
        shade = shade * (1 + rng.uniform(0, 0.3) * np.sin(2 * np.pi * rng.uniform(4, 20) * (direction[0] * x + y)))
    noise = rng.normal(0, 4, (side, side, 1))
    return np.asarray(np.clip(colour * (light * shade)[..., None] + noise, 0, 255).astype(np.uint8))


def cover(
    image: np.ndarray, points: np.ndarray, rng: np.random.Generator, kind: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Draw an occluder on a copy of a crop.

    Args:
        image: (S, S, 3) uint8.
        points: (K, 2) pixels; NaN where unknown.
        rng: decides shape, place and colour.
        kind: `bar`, `hand`, `mask` or `glasses`; empty: drawn at random.

    Returns:
        The image, and where it is covered, (S, S) bool.
    """
    kind = kind or str(rng.choice(list(SHAPES)))
    mask = SHAPES[kind](image.shape[0], points, rng)
    surface = _paint(kind, image, rng)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.4, image.shape[0] / 160))[..., None]
    return np.rint(soft * surface + (1 - soft) * image).astype(np.uint8), mask.astype(bool)


def covered_points(points: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Whether each of the points (K, 2) in pixels lies under a mask (S, S); False for unknown and outer points."""
    side = len(covered)
    found = np.zeros(len(points), bool)
    known = np.flatnonzero(np.isfinite(points[:, 0]))
    cells = np.round(points[known]).astype(int)
    inside = ((cells >= 0) & (cells < side)).all(axis=1)
    found[known[inside]] = covered[cells[inside, 1], cells[inside, 0]]
    return found
