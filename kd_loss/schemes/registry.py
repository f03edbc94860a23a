"""Creates schemes of any kind from plain values and from names."""

from __future__ import annotations

from collections.abc import Mapping

from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES, chosen_landmark_scheme
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import Json


def scheme_of(values: Json, where: str) -> Scheme:
    """The scheme of a card or manifest; raises a `UserError` that starts with `where` for malformed values.

    Files from before several kinds existed have no `kind` and are for landmarks.
    """
    if isinstance(values, Mapping) and values.get("kind") == "pose":
        return PoseScheme.from_dict(values, where)
    return LandmarkScheme.from_dict(values, where)


def landmark_scheme(scheme: Scheme, refusal: str) -> LandmarkScheme:
    """Return the scheme if it is a landmark scheme; otherwise raise a `UserError` with the text `refusal`."""
    if not isinstance(scheme, LandmarkScheme):
        raise UserError(refusal)
    return scheme


def chosen_scheme(name: str, file: str) -> Scheme:
    """The scheme selected by `--dataset NAME` and `--scheme FILE`."""
    if name and not file:
        name = choose(name, {**LANDMARK_SCHEMES, **POSES}, "dataset")
    return POSES[name] if name in POSES and not file else chosen_landmark_scheme(name, file)
