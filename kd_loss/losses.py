"""The losses of the methods as functions of tensors, for training loops of one's own.

Each returns one value a face, (B,) float32, and runs on TensorFlow, JAX and PyTorch, eagerly and compiled. Landmarks
are (B, K, 2) or (B, 2K), normalised: in crop sides, −0.5…0.5 on the crop. Of landmarks in pixels the default weights
and the paper's form of `kd_loss`, which is quadratic beyond 0.5, mean something else: divide by the side. None keeps a
gradient from the teacher: give what `keras.ops.stop_gradient` returns where it is trainable.

Whole objectives, of truth, student and teacher: `kd_loss`, `plain_kd`, `minimum`, `imitation`, `teacher_bound`,
`laplace_imitation`, `attentive_imitation`, `pseudo_labels`; without the truth: `keypoint_l1`.

Terms, which an objective adds to an error with a weight: of landmarks `kd_loss_terms`, `bounded_imitation`,
`laplace_nll`, `attention_weight`; of features `hint`, `attentive_hint`, `attention_transfer`, `srrl`; of embeddings
in a batch `rkd_distance`, `rkd_angle`, `pkt`; of heatmaps `heatmap_kl`, `gaussian_kl`, `likelihood`, `heatmap_term`,
`attention_term`; of a second head `auxiliary_error`.

Errors: `mean_absolute_error`, `mean_squared_error`.

>>> from kd_loss import losses
>>> truth, student, teacher = [[0.0, 0.0]], [[0.2, 0.0]], [[0.1, 0.0]]
>>> value = losses.mean_absolute_error(truth, student) + 0.5 * losses.mean_absolute_error(teacher, student)
>>> round(float(value[0]), 4)   # 0.1 + 0.5·0.05
0.125
"""

from kd_loss.distillation.auxiliary import auxiliary_error
from kd_loss.distillation.base import mean_absolute_error, mean_squared_error
from kd_loss.distillation.features import attention_transfer, hint, srrl
from kd_loss.distillation.heatmap import gaussian_kl, heatmap_kl
from kd_loss.distillation.imitation import (
    bounded_imitation,
    imitation,
    laplace_imitation,
    laplace_nll,
    minimum,
    plain_kd,
    teacher_bound,
)
from kd_loss.distillation.kd_loss import kd_loss, kd_loss_terms
from kd_loss.distillation.keypoints import attention_term, heatmap_term, keypoint_l1
from kd_loss.distillation.likelihood import likelihood
from kd_loss.distillation.output_distillation import attention_weight, attentive_hint, attentive_imitation
from kd_loss.distillation.pseudo import pseudo_labels
from kd_loss.distillation.relational import pkt, rkd_angle, rkd_distance

__all__ = [
    "attention_term",
    "attention_transfer",
    "attention_weight",
    "attentive_hint",
    "attentive_imitation",
    "auxiliary_error",
    "bounded_imitation",
    "gaussian_kl",
    "heatmap_kl",
    "heatmap_term",
    "hint",
    "imitation",
    "kd_loss",
    "kd_loss_terms",
    "keypoint_l1",
    "laplace_imitation",
    "laplace_nll",
    "likelihood",
    "mean_absolute_error",
    "mean_squared_error",
    "minimum",
    "pkt",
    "plain_kd",
    "pseudo_labels",
    "rkd_angle",
    "rkd_distance",
    "srrl",
    "teacher_bound",
]
