"""Creates schemes of any kind from plain values and from names."""

from __future__ import annotations

from collections.abc import Mapping

from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import SPECS, chosen_spec
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.schemes.spec import DatasetSpec
from kd_loss.system.errors import UserError, choose
from kd_loss.system.files import Json


def scheme_of(values: Json, where: str) -> Scheme:
    """The scheme of a card or manifest; raises a `UserError` that starts with `where` for malformed values.

    Files from before several kinds existed have no `kind` and are for landmarks.
    """
    if isinstance(values, Mapping) and values.get("kind") == "pose":
        return PoseScheme.from_dict(values, where)
    return DatasetSpec.from_dict(values, where)


def landmark_scheme(scheme: Scheme, refusal: str) -> DatasetSpec:
    """Return the scheme if it is a landmark scheme; otherwise raise a `UserError` with the text `refusal`."""
    if not isinstance(scheme, DatasetSpec):
        raise UserError(refusal)
    return scheme


def chosen_scheme(name: str, file: str) -> Scheme:
    """The scheme selected by `--dataset NAME` and `--spec FILE`."""
    if name and not file:
        name = choose(name, {**SPECS, **POSES}, "dataset")
    return POSES[name] if name in POSES and not file else chosen_spec(name, file)
