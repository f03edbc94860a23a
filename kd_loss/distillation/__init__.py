"""Methods that teach a small landmark network from larger ones.

Each module of this package registers its methods when it is imported; importing the package imports all, and those
of other packages that name a module under the entry point `kd_loss.methods`. A module that fails to import is
reported and skipped; the other methods remain available.
"""

import importlib
import logging
import pkgutil
from importlib.metadata import entry_points

from kd_loss.distillation.base import (
    METHODS,
    DistillationMethod,
    MethodUse,
    Taps,
    TeacherMean,
    Tensor,
    check_positive,
    get_method,
    per_sample,
    register,
    uses_of,
)
from kd_loss.distillation.feature_maps import match_size as match_size
from kd_loss.distillation.feature_maps import relative_distance as relative_distance
from kd_loss.system.errors import first_line

log = logging.getLogger(__name__)


def _load(name: str, what: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:  # third-party code
        log.warning(f"{what} {name} is skipped: {type(error).__name__}: {first_line(error)}")


for _module in pkgutil.iter_modules(__path__):
    _load(f"{__name__}.{_module.name}", "the module")
for _entry in entry_points(group="kd_loss.methods"):
    _load(_entry.value, "the plug-in")

from kd_loss.distillation.kd_loss import KDLoss, kd_loss_terms  # noqa: E402

__all__ = [
    "METHODS",
    "DistillationMethod",
    "KDLoss",
    "MethodUse",
    "Taps",
    "TeacherMean",
    "Tensor",
    "check_positive",
    "get_method",
    "kd_loss_terms",
    "match_size",
    "per_sample",
    "register",
    "relative_distance",
    "uses_of",
]
