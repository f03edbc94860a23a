"""Frames with their keypoints, the same colour for the same keypoint."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np

from kd_loss.system.files import atomic_file


def colours(count: int) -> list[tuple[int, int, int]]:
    """`count` colours around the wheel, light and dark in turn, RGB."""
    wheel = [colorsys.hsv_to_rgb(k / count, 1.0, 1.0 if k % 2 == 0 else 0.75) for k in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in wheel]


def marked(image: np.ndarray, keypoints: np.ndarray, zoom: int = 3) -> np.ndarray:
    """An image (S, S, 3) uint8 enlarged, with a disc at each of its keypoints (K, 2) in −1…1."""
    size = image.shape[0]
    large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    pixels = (keypoints + 1) / 2 * (size - 1) * zoom + (zoom - 1) / 2
    for (x, y), colour in zip(pixels, colours(len(pixels)), strict=True):
        at = (round(float(x)), round(float(y)))
        cv2.circle(large, at, 2 + zoom, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(large, at, 1 + zoom, colour, -1, cv2.LINE_AA)
    return large


def write_sheet(path: Path, images: np.ndarray, keypoints: np.ndarray, columns: int = 9) -> None:
    """A PNG of images (N, S, S, 3) uint8 with their keypoints (N, K, 2), row by row."""
    tiles = [marked(image, found) for image, found in zip(images, keypoints, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    _, data = cv2.imencode(".png", np.vstack(rows)[:, :, ::-1])
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.tobytes())
