"""Which points are visible on the faces of other archives, from what those annotate: of the 68, and by them of others.

AFLW omits what cannot be seen, COFW flags it, CFP annotates the half that is turned to the camera. More points have a
label than have a place: AFLW's wing of the nose lies elsewhere than the 68's, but is hidden with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kd_loss.schemes.benchmarks import COFW, W300
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.same_points import same_points

#: point of AFLW -> those of the 68 that are visible and hidden with it
OF_AFLW: Mapping[int, tuple[int, ...]] = {
    **{0: (17,), 1: (19,), 2: (21,), 3: (22,), 4: (24,), 5: (26,)},
    **{6: (36,), 7: (37, 38, 40, 41), 8: (39,), 9: (42,), 10: (43, 44, 46, 47), 11: (45,)},
    **{13: (31,), 14: (30,), 15: (35,), 17: (48,), 18: (51, 57, 62, 66), 19: (54,), 20: (8,)},
}
#: the same for COFW, some of whose points stand for two of the 68 beside them
OF_COFW: Mapping[int, tuple[int, ...]] = {
    **{own: (index,) for own, index in enumerate(COFW.same["w300"]) if index is not None},
    **{4: (18, 19), 6: (24, 25), 12: (37, 38), 13: (40, 41), 14: (43, 44), 15: (46, 47)},
}

#: point of COFW that the 68 lack -> those that are visible and hidden with it: edges of the brows, pupils
BESIDE: Mapping[int, tuple[int, ...]] = {5: (19,), 7: (24,), 16: (37, 38, 40, 41), 17: (43, 44, 46, 47)}

#: scheme -> its table
LABELS = {"aflw": OF_AFLW, "cofw": OF_COFW}


def shared_labels(labels: np.ndarray, table: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    """Labels (68,) from those of another scheme's points (M,): 1 visible, 0 hidden, NaN unknown."""
    result = np.full(W300.points, np.nan)
    for own, others in table.items():
        result[list(others)] = labels[own]
    return result


def labels_of_68(labels: np.ndarray, target: LandmarkScheme) -> np.ndarray:
    """Labels (K,) of another scheme's points from those of the 68: of the same points, of COFW also of those beside.

    A point beside several is unknown where their labels differ or none is known.

    >>> labels = np.ones(68)
    >>> labels[36:42] = 0                                                          # the right eye is hidden
    >>> np.flatnonzero(labels_of_68(labels, COFW) == 0).tolist()
    [8, 10, 12, 13, 16]
    """
    table = same_points(W300, target)
    result = np.where(table >= 0, np.asarray(labels, np.float64)[table], np.nan)
    for own, others in {**OF_COFW, **BESIDE}.items() if target == COFW else ():
        known = {float(label) for label in labels[list(others)] if np.isfinite(label)}
        result[own] = known.pop() if len(known) == 1 else np.nan
    return result


def seen_half(landmarks: np.ndarray, profile: bool) -> np.ndarray:
    """Labels (68,) of a face of CFP from its translated points (68, 2): of a profile the other half is hidden."""
    known = np.isfinite(landmarks[:, 0])
    result = np.where(known, 1.0, np.nan)
    if profile:
        # the side with annotated points that have a partner
        paired = known & (W300.flip_index != np.arange(W300.points))
        side = np.isin(np.arange(W300.points), HALVES[0])
        own = side if (paired & side).sum() >= (paired & ~side).sum() else ~side
        hidden = ~own & (W300.flip_index != np.arange(W300.points))
        result[hidden & ~known] = 0.0
    return result


#: the points of the subject's right and left half
HALVES = tuple(np.array([pair[side] for pair in W300.pairs]) for side in (0, 1))
