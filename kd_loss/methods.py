"""The distillation methods as classes, what one of your own is made from, and the registry.

A method is a Keras layer that returns named terms, (B,) each; `kd-loss methods` lists formulae and sources, and the
functions behind them are in `kd_loss.losses`.

>>> from kd_loss import methods
>>> methods.KDLoss(main=3.0).weights_of_terms
{'main': 3.0, 'tough': 1.0, 'tolerant': 1.0}
>>> methods.get_method("rkd", {"angle": 0.1}).weights_of_terms
{'distance': 0.025, 'angle': 0.1}
"""

from kd_loss.distillation import METHODS, DistillationMethod, TeacherMean, get_method, register
from kd_loss.distillation.auxiliary import AuxiliaryHeatmaps
from kd_loss.distillation.features import SRRL, Attention, FitNet
from kd_loss.distillation.heatmap import HeatmapDistillation
from kd_loss.distillation.imitation import Imitation, Minimum, PlainKD, ProbabilisticImitation, TeacherBound
from kd_loss.distillation.kd_loss import KDLoss
from kd_loss.distillation.keras_losses import as_keras_loss
from kd_loss.distillation.keypoints import KeypointDistillation
from kd_loss.distillation.likelihood import HeatmapLikelihood
from kd_loss.distillation.none import NoDistillation
from kd_loss.distillation.output_distillation import AttentiveHint, AttentiveImitation
from kd_loss.distillation.pseudo import PseudoLabels
from kd_loss.distillation.relational import PKT, RKD

__all__ = [
    "METHODS",
    "PKT",
    "RKD",
    "SRRL",
    "Attention",
    "AttentiveHint",
    "AttentiveImitation",
    "AuxiliaryHeatmaps",
    "DistillationMethod",
    "FitNet",
    "HeatmapDistillation",
    "HeatmapLikelihood",
    "Imitation",
    "KDLoss",
    "KeypointDistillation",
    "Minimum",
    "NoDistillation",
    "PlainKD",
    "ProbabilisticImitation",
    "PseudoLabels",
    "TeacherBound",
    "TeacherMean",
    "as_keras_loss",
    "get_method",
    "register",
]
