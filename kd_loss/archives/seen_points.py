"""Which of the 68 points are visible on the faces of other archives, from what those annotate.

AFLW omits what cannot be seen, COFW flags it, CFP annotates the half that is turned to the camera. More points have a
label than have a place: AFLW's wing of the nose lies elsewhere than the 68's, but is hidden with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kd_loss.schemes.benchmarks import COFW, W300

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

#: scheme -> its table
LABELS = {"aflw": OF_AFLW, "cofw": OF_COFW}


def shared_labels(labels: np.ndarray, table: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    """Labels (68,) from those of another scheme's points (M,): 1 visible, 0 hidden, NaN unknown."""
    result = np.full(W300.points, np.nan)
    for own, others in table.items():
        result[list(others)] = labels[own]
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
