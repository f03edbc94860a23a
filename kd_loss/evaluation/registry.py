"""The report contents for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kd_loss.evaluation import findings, pose_findings
from kd_loss.evaluation.findings import Picture
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import PoseScheme


@dataclass(frozen=True)
class Findings:
    """Functions for the tables and pictures of a kind of scheme.

    Attributes:
        tables: builds the tables of results.
        pictures: draws those of one result, given the number of worst faces and the history of its training.
        error_curves: plots the error distributions of several results.
        title: returns the title of a scheme's error table.
        shares: names of the failure rate and of the area under the curve.
    """

    tables: Callable[[Sequence[Any]], list[dict[str, Any]]]
    pictures: Callable[[Any, int, list[dict[str, float]]], list[Picture]]
    error_curves: Callable[[Sequence[Any]], Picture]
    title: Callable[[Any], str]
    shares: tuple[str, str]


#: kind of scheme -> its findings
FINDINGS: dict[type, Findings] = {
    kind: Findings(room.tables_of, room.pictures_of, room.error_curves, room.title_of, room.SHARES)
    for kind, room in ((LandmarkScheme, findings), (PoseScheme, pose_findings))
}


def findings_of(scheme: Scheme) -> Findings:
    """Return the findings of a scheme's kind."""
    return FINDINGS[type(scheme)]
