"""`.pts` files (iBUG): text, coordinates that start at 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_loss.archives.sample import check_landmarks
from kd_loss.imaging.pictures import BadSample, read_text

_MAX_BYTES = 1 << 20


def parse_pts(text: str, points: int) -> np.ndarray:
    """Parse the text of a `.pts` file into landmarks (K, 2) in pixels that start at 0.

    The header (`version: 1`, `n_points: 68`, braces) is optional. Raises `BadSample` for anything else.
    """
    if text.count("{") != text.count("}"):
        raise BadSample("is truncated: a brace is missing")
    numbers: list[float] = []
    for line in text.replace("{", "\n").replace("}", "\n").splitlines():
        line = line.strip()
        key, colon, value = line.partition(":")
        if colon:
            name = key.strip().lower()
            if name not in ("version", "n_points"):
                raise BadSample(f"unknown header line '{line[:40]}'")
            if name == "n_points" and value.strip() != str(points):
                raise BadSample(f"{value.strip()[:10]} points in its header, {points} expected")
            continue
        for word in line.replace(",", " ").split():
            try:
                numbers.append(float(word))
            except ValueError:
                raise BadSample(f"'{word[:20]}' is not a number") from None
    return check_landmarks(np.array(numbers), points) - 1.0


def read_pts(path: Path, points: int) -> np.ndarray:
    """Read landmarks (K, 2) in pixels that start at 0 from a `.pts` file; raise `BadSample` if it is invalid."""
    return parse_pts(read_text(path, _MAX_BYTES), points)


def format_pts(landmarks: np.ndarray) -> str:
    """The text of a `.pts` file for landmarks (K, 2) in pixels that start at 0."""
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in np.asarray(landmarks, np.float64) + 1.0)
    return f"version: 1\nn_points: {len(landmarks)}\n{{\n{rows}\n}}\n"
