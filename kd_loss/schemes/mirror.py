"""Infers from faces which points swap when a face is mirrored, and checks a scheme's `pairs` against them.

The mean shape of many faces is nearly its own mirror image: point i lies where its partner lies after mirroring. A
linear assignment finds all partners at once. A wrong pair in a scheme gives a network wrong targets in every mirrored
image, and the only symptom is a slightly larger error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

#: a point is misplaced if it lies this much farther from its partner's mirror image than necessary: as a fraction of
#: the mean shape's longer side, in standard errors of the mean shape, and in medians of the residuals between
#: partners, which grow if more faces look to one side: the chin then moves along the jaw
EXCESS, ERRORS, LEFT = 0.015, 5.0, 4.0
#: a shape is not symmetric if its mirror image lies farther from it, in the median over its points
SYMMETRIC = 0.04
#: fewest faces for a meaningful result
FEWEST = 10


@dataclass(frozen=True)
class MirrorMap:
    """The mirror map inferred from faces. Distances are fractions of the mean shape's longer side.

    Attributes:
        partner: (K,) the mirror partner of each point; the point itself on the midline.
        apart: (K, K) distance of point i from the mirror image of point j; NaN if either is never annotated.
        error: (K,) standard error of the mean shape's points.
        faces: number of faces used.
    """

    partner: np.ndarray
    apart: np.ndarray
    error: np.ndarray
    faces: int

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Index pairs, the smaller index first."""
        return tuple((i, int(j)) for i, j in enumerate(self.partner) if i < j)

    @property
    def margins(self) -> np.ndarray:
        """(K,) how much farther the second-best partner of each point is than the proposed one; larger is surer."""
        rows = np.arange(len(self.partner))
        others = self.apart.copy()
        others[rows, self.partner] = np.inf
        others[np.isnan(others)] = np.inf
        return np.asarray(others.min(axis=1) - self.apart[rows, self.partner])

    @property
    def margin(self) -> float:
        """The smallest of `margins`."""
        return float(np.nanmin(self.margins))

    @property
    def symmetric(self) -> bool:
        """Whether the shape is nearly its own mirror image."""
        own = self.apart[np.arange(len(self.partner)), self.partner]
        return bool(np.nanmedian(own) <= SYMMETRIC)

    @property
    def sure(self) -> bool:
        """Whether the shape is symmetric and each partner stands out from the noise of the mean shape."""
        wanted = np.maximum(EXCESS / 3, ERRORS * self.error)
        return self.symmetric and bool((self.margins[~np.isnan(self.margins)] > wanted[~np.isnan(self.margins)]).all())

    def misplaced(self, flip_index: np.ndarray) -> np.ndarray:
        """The points that clearly miss the mirror image of their partners under a given map (K,)."""
        if not self.symmetric:
            return np.zeros(0, int)
        rows = np.arange(len(self.partner))
        own = self.apart[rows, self.partner]
        excess = self.apart[rows, flip_index] - own
        return np.flatnonzero(excess > np.maximum(max(EXCESS, LEFT * float(np.nanmedian(own))), ERRORS * self.error))


def mean_shape(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (K, 2) of shapes (N, K, 2) aligned to it by similarities, longer side 1, and its error (K,).

    Unannotated points are NaN; the mean is NaN for points that no face annotates.
    """
    shapes = np.asarray(landmarks, np.float64)
    seen = ~np.isnan(shapes[..., 0])
    shapes, seen = shapes[seen.sum(axis=1) >= 2], seen[seen.sum(axis=1) >= 2]
    known = seen.any(axis=0)
    weight = seen[..., None].astype(np.float64)
    filled = np.where(seen[..., None], shapes, 0.0)
    count = weight.sum(axis=1, keepdims=True)

    def centred(values: np.ndarray) -> np.ndarray:
        return (values - (values * weight).sum(axis=1, keepdims=True) / count) * weight

    own = centred(filled)
    scale = np.sqrt((own**2).sum(axis=(1, 2), keepdims=True) / count)
    moved = own / np.maximum(scale, 1e-12)
    for _ in range(6):
        mean = moved.sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
        target = np.broadcast_to(mean, own.shape) * weight
        middle = target.sum(axis=1, keepdims=True) / count
        goal = centred(np.broadcast_to(mean, own.shape))
        size = np.maximum((own**2).sum(axis=(1, 2)), 1e-12)
        c = (own * goal).sum(axis=(1, 2)) / size
        s = (own[..., 0] * goal[..., 1] - own[..., 1] * goal[..., 0]).sum(axis=1) / size
        turned = np.stack(
            [c[:, None] * own[..., 0] - s[:, None] * own[..., 1], s[:, None] * own[..., 0] + c[:, None] * own[..., 1]],
            axis=-1,
        )
        moved = (turned + middle) * weight
        # least squares shrinks shapes a little in each iteration
        moved /= np.sqrt((mean[known] ** 2).sum(axis=1).mean())
    mean = moved.sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    side = max(np.ptp(mean[known], axis=0).max(), 1e-12)
    variance = ((moved - mean) ** 2 * weight).sum(axis=(0, 2)) / np.maximum(seen.sum(axis=0), 1)
    error = np.sqrt(variance / np.maximum(seen.sum(axis=0), 1)) / side
    mean = np.where(known[:, None], mean / side, np.nan)
    return mean, np.where(known, error, np.nan)


def propose_mirror(landmarks: np.ndarray) -> MirrorMap:
    """Infer the mirror map from faces (N, K, 2); unannotated points are NaN.

    Most faces must be upright, as `prepare` requires; a rotated face is aligned to upright first.

    Raises:
        UserError: fewer than ten faces.

    >>> square = np.array([[0.0, 0], [4, 0], [2, 1], [0, 3], [4, 3]])
    >>> propose_mirror(square + np.random.default_rng(0).normal(0, 0.05, (50, 5, 2))).pairs
    ((0, 1), (3, 4))
    """
    from scipy.optimize import linear_sum_assignment

    if len(landmarks) < FEWEST:
        raise UserError(f"a mirror map needs at least {FEWEST} faces, got {len(landmarks)}")
    mean, error = mean_shape(landmarks)
    points = len(mean)
    known = np.flatnonzero(~np.isnan(mean[:, 0]))
    shape = mean[known]
    image = (shape - shape.mean(axis=0)) * [-1, 1] + shape.mean(axis=0)
    partner = np.arange(len(known))
    for _ in range(20):
        distance = np.linalg.norm(shape[:, None] - image[None], axis=-1)
        # squares prefer many small misses to one large one; the transpose is added because partners are mutual
        _, found = linear_sum_assignment(distance**2 + distance.T**2)
        if (found == partner).all():
            break
        partner = found
        image = _onto(image[partner], shape, image)
    partner = _mutual(partner, distance**2 + distance.T**2)
    distance = np.linalg.norm(shape[:, None] - _onto(image[partner], shape, image)[None], axis=-1)
    whole = np.arange(points)
    whole[known] = known[partner]
    apart = np.full((points, points), np.nan)
    apart[np.ix_(known, known)] = distance
    return MirrorMap(whole, apart, error, len(landmarks))


def _onto(source: np.ndarray, target: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transform points by the rotation and shift that best align `source` with `target`."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    angle = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((points - source.mean(axis=0)) @ turn.T + target.mean(axis=0))


def _mutual(partner: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The assignment as pairs and fixed points: cycles of three and more are cut where that costs least."""
    result = np.full(len(partner), -1)
    mutual = partner[partner] == np.arange(len(partner))
    result[mutual] = partner[mutual]
    left = list(np.flatnonzero(~mutual))
    while left:
        block = cost[np.ix_(left, left)]
        i, j = np.unravel_index(int(block.argmin()), block.shape)
        first, second = left[i], left[j]
        result[first], result[second] = second, first
        left = [k for k in left if k not in (first, second)]
    return result


def check_mirror(scheme: LandmarkScheme, proposed: MirrorMap) -> None:
    """Reject a scheme whose `pairs` scramble faces; schemes without pairs, or of half a face, are not checked.

    Raises:
        UserError: names the points and where their mirror images lie.
    """
    if not scheme.pairs or not scheme.mirrors:
        return
    wrong = proposed.misplaced(scheme.flip_index)
    if not len(wrong):
        return
    names = ", ".join(str(i) for i in wrong[:12]) + (" …" if len(wrong) > 12 else "")
    first = int(wrong[0])
    has, wants = int(scheme.flip_index[first]), int(proposed.partner[first])
    off = 100 * proposed.apart[first, has]
    raise UserError(
        f"the pairs of '{scheme.name}' scramble {'point' if len(wrong) == 1 else 'points'} {names}: {first} would "
        f"{f'change places with {has}' if has != first else 'stay'}, {off:.1f} % of a face beside its mirror image, on "
        f"{proposed.faces} faces its partner is {wants if wants != first else 'itself'}; fix the pairs, or keep "
        "them with --pairs given"
    )
