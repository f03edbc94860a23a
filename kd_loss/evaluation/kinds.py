"""What is told of the results of each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kd_loss.evaluation import findings, pose_findings
from kd_loss.evaluation.findings import Picture
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.pose import PoseScheme
from kd_loss.schemes.spec import DatasetSpec


@dataclass(frozen=True)
class Findings:
    """Tables and pictures of the results of a kind of scheme.

    Attributes:
        tables: of results.
        pictures: of one result, with so many worst faces, and the history of its training.
        error_curves: the distributions of the errors of several results.
        title: of a table of errors of a scheme.
        shares: what the share of failures and the area under the curve are called.
    """

    tables: Callable[[Sequence[Any]], list[dict[str, Any]]]
    pictures: Callable[[Any, int, list[dict[str, float]]], list[Picture]]
    error_curves: Callable[[Sequence[Any]], Picture]
    title: Callable[[Any], str]
    shares: tuple[str, str]


#: kind of scheme -> its findings
FINDINGS: dict[type, Findings] = {
    kind: Findings(room.tables_of, room.pictures_of, room.error_curves, room.title_of, room.SHARES)
    for kind, room in ((DatasetSpec, findings), (PoseScheme, pose_findings))
}


def findings_of(scheme: Scheme) -> Findings:
    """The findings of a scheme's kind."""
    return FINDINGS[type(scheme)]
