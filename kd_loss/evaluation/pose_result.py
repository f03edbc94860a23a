"""One network's head poses on one split, and the metrics computed from them.

Geodesic angle between predicted and true rotation; yaw, pitch and roll as mean absolute errors, in the package's
convention and in that of the usual tables (`schemes.rotations`); the head's place before the crop's camera in head
widths, as a distance in space, and that across the line of sight alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.evaluation.metrics import Score, mean_of_known
from kd_loss.imaging.rotations import CONVENTION, CONVENTION_300WLP, geodesic, to_300wlp, to_angles, to_matrices
from kd_loss.schemes.known_yaw import whole_rows
from kd_loss.schemes.pose import PoseScheme

ANGLES = ("yaw", "pitch", "roll")
#: degrees; the usual tables leave out an image with any true angle beyond
LIMIT = 99.0


def angle_errors(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Compute absolute differences of angles in degrees, the shorter way round.

    >>> angle_errors(np.array([179.0, 10.0]), np.array([-179.0, 14.0])).tolist()
    [2.0, 4.0]
    """
    return np.abs((np.asarray(predicted, np.float64) - truth + 180) % 360 - 180)


def _means(angles: np.ndarray) -> dict[str, float]:
    """Mean errors of yaw, pitch and roll, (N, 3), of the faces whose rotation is known."""
    return {angle: mean_of_known(column) for angle, column in zip(ANGLES, angles.T, strict=True)}


@dataclass(frozen=True)
class PoseResult:
    """Predictions and truth (N, 2, 3), not standardised, of one network on a split, and their errors.

    Errors of rotations are NaN for a face of which the yaw alone is known, and do not count.
    """

    name: str
    weights: str
    network: Mapping[str, Any]
    split: PreparedSplit
    scheme: PoseScheme
    predicted: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, split: PreparedSplit, targets: np.ndarray, _spread: np.ndarray | None, **about: Any) -> PoseResult:
        """Create from standardised targets (N, 2, 3), predicted by a network or derived from its landmarks.

        The spread of landmarks is unused: it does not describe a pose. `about`: `name`, `weights`, `network`.
        """
        scheme = split.scheme
        assert isinstance(scheme, PoseScheme)
        predicted, truth = scheme.raw(targets), whole_rows(scheme.raw(split.target))
        return cls(split=split, scheme=scheme, predicted=predicted, truth=truth, **about)

    @cached_property
    def rotations(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and true matrices (N, 3, 3)."""
        return to_matrices(self.predicted[:, 0]), to_matrices(self.truth[:, 0])

    @cached_property
    def values(self) -> np.ndarray:
        """Geodesic angles (N,) in degrees."""
        return geodesic(*self.rotations)

    @cached_property
    def angles(self) -> np.ndarray:
        """Errors of yaw, pitch and roll (N, 3) in degrees."""
        predicted, truth = self.rotations
        return angle_errors(to_angles(predicted), to_angles(truth))

    @cached_property
    def angles_300wlp(self) -> np.ndarray:
        """The same in 300W-LP's convention."""
        predicted, truth = self.rotations
        return angle_errors(to_300wlp(predicted), to_300wlp(truth))

    @cached_property
    def within_limit(self) -> np.ndarray:
        """(N,) whether all three true angles in 300W-LP's convention are within `LIMIT`, as the usual tables want."""
        return np.asarray(np.abs(to_300wlp(self.rotations[1])).max(axis=-1) <= LIMIT)

    @cached_property
    def position(self) -> np.ndarray:
        """Distances (N, 2) between the heads' places in head widths: in space, and across the line of sight."""
        apart = self.scheme.in_camera(self.predicted) - self.scheme.in_camera(self.truth)
        # across: where the predicted middle would be at the true depth
        aside = (self.predicted - self.truth)[:, 1, :2] * np.exp(self.truth[:, 1, 2:])
        return np.stack([np.linalg.norm(apart, axis=1), np.linalg.norm(aside, axis=1)], axis=1)

    def rows(self) -> dict[str, np.ndarray]:
        """Report row -> indices: ranges of |yaw|, and all."""
        return {name: indices for name, indices in self.split.rows().items() if len(indices)}

    def scores(self) -> dict[str, Score]:
        """Report row -> geodesic errors; FR and AUC of a `Score` are those above and up to 8 and 10 degrees."""
        return {row: Score.of(self.values[indices]) for row, indices in self.rows().items()}

    def more(self) -> dict[str, float]:
        """Further columns of a comparison: mean absolute errors over all faces."""
        return {**_means(self.angles), "position": self._position()[0]}

    def _position(self, indices: np.ndarray | slice = slice(None)) -> list[float]:
        return self.position[indices].mean(axis=0).tolist()

    def summary(self) -> dict[str, Any]:
        """Everything for `metrics.json`."""
        rows = {}
        for row, indices in self.rows().items():
            score = self.scores()[row]
            place = self._position(indices)
            rows[row] = {
                **{"faces": score.faces, "degrees": score.mean, "low": score.low, "high": score.high},
                **{"over_8": score.fr_08, "over_10": score.fr_10, "auc_10": score.auc_10},
                **_means(self.angles[indices]),
                "in_their_convention": _means(self.angles_300wlp[indices]),
                **{"position_in_head_widths": place[0], "across_in_head_widths": place[1]},
            }
        words = {"convention": CONVENTION, "their_convention": CONVENTION_300WLP}
        return {"name": self.name, "weights": self.weights, **self.network, **words, "scores": rows}
