"""All geometry of the package: pixels, crops and similarity transforms.

Three coordinate systems, all `(x, y)`:

* *pixel*: the centre of the top left pixel is (0, 0), so that pixel i covers [i − 0.5, i + 0.5];
* *normalised*: a square crop of S pixels spans −0.5…0.5, that is `(p + 0.5) / S − 0.5`. Resizing a
  crop does not change normalised coordinates, which is why landmarks are kept in them;
* *source*: pixels of the photograph that a crop was taken from.

An affine map is a (2, 3) float64 matrix `[A | t]`, applied as `A p + t`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def normalise(points: ArrayLike, size: float) -> Array:
    """Pixel coordinates of a square crop of `size` pixels to normalised ones (−0.5…0.5)."""
    return (np.asarray(points, np.float64) + 0.5) / size - 0.5


def denormalise(points: ArrayLike, size: float) -> Array:
    """Normalised coordinates to pixel coordinates of a crop of `size` pixels."""
    return (np.asarray(points, np.float64) + 0.5) * size - 0.5


def apply(affine: ArrayLike, points: ArrayLike) -> Array:
    """Map points (..., 2) by one affine matrix (2, 3)."""
    matrix = np.asarray(affine, np.float64)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def compose(outer: ArrayLike, inner: ArrayLike) -> Array:
    """The affine map `p -> outer(inner(p))`."""
    a, b = np.asarray(outer, np.float64), np.asarray(inner, np.float64)
    return np.column_stack([a[:, :2] @ b[:, :2], a[:, :2] @ b[:, 2] + a[:, 2]])


def invert(affine: ArrayLike) -> Array:
    """The inverse of an affine map; raises `numpy.linalg.LinAlgError` for a singular one."""
    matrix = np.asarray(affine, np.float64)
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def landmark_box(points: ArrayLike) -> Array:
    """The tight box `(x0, y0, x1, y1)` around landmarks (K, 2); NaN points are ignored."""
    array = np.asarray(points, np.float64)
    return np.concatenate([np.nanmin(array, axis=0), np.nanmax(array, axis=0)])


def square_crop(box: ArrayLike, margin: float) -> Array:
    """The square `(x0, y0, side)` around a box, its longer side extended by `margin` at each end.

    `margin` is a fraction of the longer side: 0.15 makes the square 1.3 times as long. The corner is in
    the continuous pixel plane, where the first pixel covers −0.5…0.5.
    """
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    side = max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    return np.array([(x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side])


def widen(square: ArrayLike, factor: float) -> Array:
    """The square `(x0, y0, side)` scaled by `factor` about its centre."""
    x0, y0, side = np.asarray(square, np.float64)
    more = side * (factor - 1)
    return np.array([x0 - more / 2, y0 - more / 2, side + more])


def crop_affine(square: ArrayLike, size: int) -> Array:
    """The map from source pixels to the pixels of the crop `square`, resized to `size`."""
    x0, y0, side = np.asarray(square, np.float64)
    scale = size / side
    return np.array([[scale, 0, -x0 * scale - 0.5], [0, scale, -y0 * scale - 0.5]])


def normalised_affine(square: ArrayLike) -> Array:
    """The map from source pixels to the normalised coordinates of the crop `square`."""
    x0, y0, side = np.asarray(square, np.float64)
    return np.array([[1 / side, 0, -x0 / side - 0.5], [0, 1 / side, -y0 / side - 0.5]])


def similarity(angle: float, scale: float, shift: ArrayLike, flip: bool) -> Array:
    """Mirror (if `flip`), rotate by `angle` radians, scale, shift: a map of normalised points.

    Positive angles turn clockwise on the image, where y points down. `shift` is in crop sides.
    """
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    sign = -1.0 if flip else 1.0
    dx, dy = np.asarray(shift, np.float64)
    return np.array([[c * sign, -s, dx], [s * sign, c, dy]])


def fit_similarity(source: ArrayLike, target: ArrayLike) -> Array:
    """The map (2, 3) by rotation, scale and shift that brings points (N, 2) closest to others, by least squares.

    >>> fit_similarity([[0.0, 0.0], [1.0, 0.0]], [[2.0, 1.0], [2.0, 3.0]]).round(6).tolist()
    [[0.0, -2.0, 2.0], [2.0, 0.0, 1.0]]
    """
    p, q = (np.asarray(points, np.float64) for points in (source, target))
    a, b = p - p.mean(axis=0), q - q.mean(axis=0)
    c, s = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    matrix = np.array([[c, -s], [s, c]]) / max(np.square(a).sum(), 1e-12)
    return np.column_stack([matrix, q.mean(axis=0) - matrix @ p.mean(axis=0)])


def pixel_affine(affine: ArrayLike, size_in: int, size_out: int) -> Array:
    """Convert a map of normalised points to a map from pixels of `size_in` to pixels of `size_out`."""
    into = np.array([[1 / size_in, 0, 0.5 / size_in - 0.5], [0, 1 / size_in, 0.5 / size_in - 0.5]])
    out = np.array([[size_out, 0, size_out / 2 - 0.5], [0, size_out, size_out / 2 - 0.5]])
    return compose(out, compose(affine, into))
