"""The report contents for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kd_loss.evaluation import landmark_content, pose_content
from kd_loss.evaluation.report_content import Picture
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import PoseScheme


@dataclass(frozen=True)
class ReportContent:
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


#: kind of scheme -> the content of its reports
CONTENT: dict[type, ReportContent] = {
    kind: ReportContent(part.tables_of, part.pictures_of, part.error_curves, part.title_of, part.SHARES)
    for kind, part in ((LandmarkScheme, landmark_content), (PoseScheme, pose_content))
}


def content_of(scheme: Scheme) -> ReportContent:
    """Return the report content of a scheme's kind."""
    return CONTENT[type(scheme)]
