"""Methods that teach a small landmark network from larger ones.

Each module of this package registers its methods when it is imported; importing the package imports all.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from kd_loss.distillation.base import METHODS, DistillationMethod, get_method, register  # noqa: E402
from kd_loss.distillation.distiller import Distiller  # noqa: E402
from kd_loss.distillation.kd_loss import KDLoss, kd_loss_terms  # noqa: E402
from kd_loss.distillation.teacher import LiveTeacher, RecordedTeacher, Teacher  # noqa: E402

__all__ = [
    "METHODS",
    "DistillationMethod",
    "Distiller",
    "KDLoss",
    "LiveTeacher",
    "RecordedTeacher",
    "Teacher",
    "get_method",
    "kd_loss_terms",
    "register",
]
