"""One network's predictions on one split, and the metrics computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.evaluation.metrics import BOXES, Score, mean_of_known, normalising_distance, part_errors, point_errors
from kd_loss.evaluation.openings import Opening, opening_errors
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.prediction import check_fit, rank_correlation, see_split
from kd_loss.evaluation.provenance import check_provenance
from kd_loss.evaluation.visibility import VisibilityScore, score_visibility
from kd_loss.networks.card import SPREAD_CORRELATION
from kd_loss.runtimes.crop_network import mirrored, open_network
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.nme import face_means
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class Result:
    """Predictions (N, K, 2), in source pixels, of one network on a split, and their errors.

    `spread` (N, K), of its heatmaps in crop sides, is None for a network without. `normalised` (N, K, 2) are the
    network's raw landmarks, and `teacher_landmarks` those of the teacher for the distance to it. `visibility` (N, K) is
    what the network says of each landmark; None for a network without.
    """

    name: str
    weights: str
    network: Mapping[str, Any]
    split: PreparedSplit
    predicted: np.ndarray
    truth: np.ndarray
    normalised: np.ndarray
    spread: np.ndarray | None = None
    teacher_landmarks: np.ndarray | None = None
    visibility: np.ndarray | None = None

    @classmethod
    def of(cls, split: PreparedSplit, targets: np.ndarray, spread: np.ndarray | None, **about: Any) -> Result:
        """Create from the normalised landmarks (N, K, 2) of a network; `about`: `name`, `weights`, `network`."""
        predicted, truth = split.to_source(targets), split.to_source(split.landmarks)
        return cls(split=split, predicted=predicted, truth=truth, normalised=targets, spread=spread, **about)

    def errors(self, normaliser: str) -> np.ndarray:
        """Compute errors (N, K) in % of a normalising distance, in source pixels; NaN: not annotated."""
        return point_errors(self.predicted, self.truth, normalising_distance(self.truth, self.scheme, normaliser))

    @property
    def scheme(self) -> LandmarkScheme:
        """The scheme of the landmarks."""
        assert isinstance(self.split.scheme, LandmarkScheme)
        return self.split.scheme

    @property
    def normalisers(self) -> list[str]:
        """All normalisers of the errors, the default one first."""
        return [*self.scheme.normalisers, *BOXES]

    @cached_property
    def openings(self) -> dict[str, Opening]:
        """Region -> errors of the openings of eyes or mouth; empty for schemes that have none."""
        distance = normalising_distance(self.truth, self.scheme, self.scheme.default_normaliser)
        return opening_errors(self.predicted, self.truth, distance, self.scheme.name)

    @cached_property
    def seen(self) -> VisibilityScore | None:
        """How well the network tells hidden from visible points; None without its answer or labels of both kinds."""
        if self.visibility is None or self.split.visibility is None:
            return None
        return score_visibility(self.visibility, np.asarray(self.split.visibility), self.spread)

    @cached_property
    def nme(self) -> np.ndarray:
        """NME (N,) in % of the scheme's default normaliser."""
        return face_means(self.errors(self.scheme.default_normaliser))

    @property
    def values(self) -> np.ndarray:
        """The error of each face by which methods are compared, (N,): `nme`."""
        return self.nme

    @cached_property
    def akd(self) -> np.ndarray | None:
        """AKD (N,) = 1/K Σ ‖S_k − T_k‖ to a teacher's landmarks, in units of the grid −1…1 across the crop."""
        if self.teacher_landmarks is None:
            return None
        return 2 * np.linalg.norm(self.normalised - self.teacher_landmarks, axis=-1).mean(axis=1)

    def more(self) -> dict[str, float]:
        """Further columns of a comparison: the distance to a teacher, where one is given."""
        return {} if self.akd is None else {"akd": float(self.akd.mean())}

    def scores(self, normaliser: str = "") -> dict[str, Score]:
        """Report row -> score by a normaliser, or the default one; rows without a face are omitted.

        Raises:
            UserError: no face has the points of the default normaliser.
        """
        nme = face_means(self.errors(normaliser or self.scheme.default_normaliser))
        if normaliser in ("", self.scheme.default_normaliser) and np.isnan(nme).all():
            raise UserError(
                f"no face of {self.split.folder} has the points of '{self.scheme.default_normaliser}', by which errors "
                "are normalised"
            )
        rows = self.split.rows().items()
        return {row: Score.of(nme[indices]) for row, indices in rows if not np.isnan(nme[indices]).all()}

    def summary(self) -> dict[str, Any]:
        """Everything for `metrics.json`."""
        errors = self.errors(self.scheme.default_normaliser)
        return {
            "name": self.name,
            "weights": self.weights,
            **self.network,
            "scores": {
                n: {r: s.to_dict(self.scheme.metric) for r, s in self.scores(n).items()} for n in self.normalisers
            },
            **self.more(),
            "parts": part_errors(errors, self.scheme),
            "openings": {region: asdict(opening) for region, opening in self.openings.items()},
            **({} if self.seen is None else {"visibility": asdict(self.seen)}),
            **({} if self.spread is None else {SPREAD_CORRELATION: rank_correlation(self.spread, errors)}),
            "points": [None if np.isnan(e).all() else round(mean_of_known(e), 4) for e in errors.T],
        }


#: kind of scheme -> the class of its test results
RESULTS: dict[type, type[Result] | type[PoseResult]] = {LandmarkScheme: Result, PoseScheme: PoseResult}


def mean_error(split: PreparedSplit, targets: np.ndarray) -> float:
    """Average, over a split's faces, the error by which methods are compared, from normalised targets (N, …)."""
    return float(
        np.nanmean(RESULTS[type(split.scheme)].of(split, targets, None, name="", weights="", network={}).values)
    )


def test_network(
    path: Path,
    name: str,
    dataset: PreparedDataset,
    split: PreparedSplit,
    batch_size: int,
    flip_test: bool = False,  # noqa: PT028 (it is no test of pytest's)
) -> Result | PoseResult:
    """Load, check and run one network on a split of a dataset, converting from the network's scheme if possible.

    `flip_test`: average the predictions for each face and its mirror image.
    """
    network = open_network(path)
    if flip_test:
        network, name = mirrored(network), f"{name}, mirrored"
    other = network.card.scheme()
    check_fit(network.card, dataset, path, any_points=split.scheme.reads(other))
    notes = check_provenance(network.card, path, dataset, split)
    for line in notes:
        print(f"warning: {line}")
    predicted, spread, visible = see_split(network, split, batch_size)
    if not np.isfinite(predicted).all():
        raise UserError(f"{path} returns numbers that are not finite; its weights are damaged")
    facts = {
        "arch": network.card.arch,
        "size": network.card.size,
        "role": network.card.role,
        "runtime": network.runtime,
        "parameters": network.parameters,
        **({"notes": notes} if notes else {}),
    }
    read = predicted if split.scheme.agrees(other) else split.scheme.read(predicted, other)
    assert read is not None  # ensured by `check_fit`
    kind = RESULTS[type(split.scheme)]
    result = kind.of(split, read, spread, name=name, weights=str(path), network=facts)
    return replace(result, visibility=visible) if isinstance(result, Result) else result


def mean_teacher(members: Sequence[Result | PoseResult], weights: str) -> np.ndarray:
    """Return a teacher's normalised landmarks (N, K, 2), averaged over several networks; `UserError` for poses."""
    found = []
    for member in members:
        if not isinstance(member, Result):
            raise UserError(
                f"--reference {weights}: the distance is defined for landmarks, not for a {member.scheme.noun}"
            )
        found.append(member.normalised)
    return np.mean(found, axis=0)


def with_teacher(result: Result | PoseResult, teacher_landmarks: np.ndarray) -> Result | PoseResult:
    """Add the distance to a teacher's landmarks; a result with faces that were not found is returned unchanged."""
    known = isinstance(result, Result) and not np.isnan(result.predicted).any()
    return replace(result, teacher_landmarks=teacher_landmarks) if isinstance(result, Result) and known else result
