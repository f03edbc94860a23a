"""The losses L1 to L3 that distil a keypoint detector: a teacher's points, heatmaps and attention, and no truth.

They were designed for detectors trained without annotation (`keypoints.distil`); any landmark network can be
the teacher as well. The module has pure functions, and the method for landmark students.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kd_loss.distillation.arguments import of_tensors
from kd_loss.distillation.base import (
    Taps,
    TeacherMean,
    Tensor,
    mean_squared_error,
    per_sample,
    register,
)
from kd_loss.distillation.feature_maps import match_size
from kd_loss.distillation.features import attention_map, attention_sums
from kd_loss.distillation.heatmap import in_cells_of, probabilities
from kd_loss.networks.backbones import FEATURE_MAPS
from kd_loss.system.deprecation import RenamedAttribute, renamed_keywords
from kd_loss.system.errors import choose

LOSSES = ("L1", "L2", "L3")


@of_tensors
def keypoint_l1(y_pred: Tensor, teacher: Tensor) -> Tensor:
    """`4·e²(S, T)`: L1, the squared error in units of the −1…1 grid of a keypoint detector.

    Args:
        y_pred: the student's landmarks, (B, K, 2) or (B, 2K), normalised (crop sides, −0.5…0.5 on the crop).
        teacher: the teacher's landmarks, likewise.

    Returns:
        (B,) float32, at least 0. L2 is L1 and `heatmap_term`, L3 is L2 and `attention_term`.

    Source:
        The distillation of the detector of Siarohin et al., "First Order Motion Model for Image Animation",
        NeurIPS 2019; its second L1 term needs Jacobians, which landmark networks do not return.

    >>> round(float(keypoint_l1([[0.1, 0.0]], [[0.0, 0.0]])[0]), 4)   # a fifth of the grid: (0.2² + 0) / 2
    0.02
    """
    return 4 * mean_squared_error(teacher, y_pred)


def shares(side: int, of: int) -> np.ndarray:
    """Return the share of the mass of each of `of` cells that goes to each of `side` others, (side, of) float32.

    Both grids have their first and last cell at −1 and 1 (`keypoint_detector.places`). A cell's mass is shared by the
    two cells on either side of its place by linear interpolation: W = max(0, 1 − |z_s − z_t|·(S − 1)/2).
    Columns sum to 1, and the mean position of the mass is preserved.

    >>> shares(2, 3).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    apart = np.abs(np.linspace(-1, 1, side)[:, None] - np.linspace(-1, 1, of)[None])
    return np.maximum(0, 1 - apart * (side - 1) / 2).astype(np.float32)


def shared_in_cells_of(student: Tensor, teacher: Tensor) -> Tensor:
    """Resample a detector's heatmaps (B, H, W, K) to (B, h, w, K): `W H Wᵀ`, with the same sum and expectation.

    For grids that end at −1 and 1; resizing by half-pixel centres (`heatmap.in_cells_of`) would stretch their
    expectation.
    """
    if tuple(student.shape[1:3]) == tuple(teacher.shape[1:3]):
        return teacher
    down, across = (ops.convert_to_tensor(shares(student.shape[i], teacher.shape[i])) for i in (1, 2))
    return ops.einsum("hH,bHWk,wW->bhwk", down, ops.cast(teacher, "float32"), across)


@renamed_keywords(letter="as_published")
@of_tensors
def heatmap_term(
    student: Tensor,
    teacher: Tensor,
    as_published: bool = False,
    resized: Callable[[Tensor, Tensor], Tensor] = in_cells_of,
) -> Tensor:
    """`mean_k Σ_z (H_S − H_T)²`: what L2 adds, the squared difference of heatmaps.

    Args:
        student: the student's heatmaps after their softmax, (B, h, w, K), summing to 1 over the cells.
        teacher: the teacher's, (B, H, W, K).
        as_published: take the mean over the cells, too, as written, which is smaller by their number.
        resized: brings the teacher's maps to the student's cells, where they sum to 1 again: those of landmark networks
            by half-pixel centres, those of keypoint detectors by `shared_in_cells_of`.

    Returns:
        (B,) float32, 0…2.

    >>> float(heatmap_term([[[[1.0], [0.0]]]], [[[[0.0], [1.0]]]])[0])   # 1² + 1²
    2.0
    """
    student = ops.cast(student, "float32")
    teacher = resized(student, teacher)
    cells = 1 if as_published else student.shape[1] * student.shape[2]
    return cells * per_sample(ops.square(student - teacher))


@renamed_keywords(letter="as_published")
@of_tensors
def attention_term(student: Tensor, teacher: Tensor, power: float = 2.0, as_published: bool = False) -> Tensor:
    """`‖q(A_S) − q(A_T)‖²`, q = Σ_c |A|^p of length 1: what L3 adds, the difference of two encoders' attention.

    Args:
        student: output of the student's encoder, (B, h, w, C).
        teacher: output of the teacher's encoder, (B, h, w, C′), of the same height and width.
        power: p, above 0.
        as_published: take Σ_c |A|^p of any length and the mean of the squares, as written, in units of the
            features.

    Returns:
        (B,) float32; 0…2, or with `as_published` at least 0.

    Source:
        Zagoruyko & Komodakis, ICLR 2017.

    >>> round(float(attention_term([[[[3.0], [0.0]]]], [[[[0.0], [5.0]]]])[0]), 3)
    2.0
    """
    student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
    if as_published:
        return per_sample(ops.square(attention_sums(student, power) - attention_sums(teacher, power)))
    return ops.sum(ops.square(attention_map(student, power) - attention_map(teacher, power)), axis=1)


def pooled_to(features: Tensor, side: int) -> Tensor:
    """Feature maps (B, h, w, C), max-pooled by h // `side` where they are that much finer."""
    factor = features.shape[1] // side
    return ops.max_pool(features, factor, factor) if factor > 1 else features


@register("keypoints")
@renamed_keywords(letter="as_published")
class KeypointDistillation(TeacherMean):
    """`4·e²(S, T)`, for L2 `+ Σ_z (H_S − H_T)²`, for L3 `+ ‖q(r(A_S)) − q(A_T)‖²`: the teacher alone, no truth.

    Shapes: landmarks (B, K, 2), heatmaps (B, h, w, K) before their softmax, the tap A (B, h, w, C), for which r is a
    1 × 1 convolution and max-pooling to the teacher's shape, q = Σ_c |A|^p of length 1; result (B,). L1 is in units of
    the −1…1 grid, hence 4; Jacobians, of which it has a second term, landmark networks do not give. `as_published`
    takes the heatmaps' mean over cells and attention of any length, as written. Source: the distillation of the
    detector of Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019.
    """

    def __init__(
        self,
        loss: str = "L1",
        heatmaps: float = 1.0,
        attention: float = 1.0,
        power: float = 2.0,
        as_published: bool = False,
        tap: str = "P4",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.loss = choose(loss, LOSSES, "keypoints.loss")
        self._not_negative(heatmaps=heatmaps, attention=attention)
        self._positive(power=power)
        tap = choose(tap, FEATURE_MAPS, "keypoints.tap")
        self.heatmaps, self.attention, self.power, self.as_published, self.tap = (
            heatmaps,
            attention,
            power,
            as_published,
            tap,
        )
        more = {"L1": (), "L2": ("heatmaps",), "L3": ("heatmaps", "attention")}[self.loss]
        taps = {"heatmaps": "heatmaps", "attention": tap}
        self.student_taps = self.teacher_taps = ("landmarks", *(taps[name] for name in more))  # type: ignore[misc]
        self.term_names = ("value", *more)
        self.single_taps = () if more else ("landmarks",)
        self.connectors: dict[str, keras.layers.Layer] = {}

    letter = RenamedAttribute("as_published")

    def attach(self, student: Any, teachers: Mapping[str, Any]) -> None:
        """Build a connector per teacher."""
        super().attach(student, teachers)
        for role, teacher in teachers.items() if "attention" in self.term_names else ():
            connector = keras.layers.Conv2D(teacher.channels(self.tap), 1, dtype="float32")
            connector.build((None, None, None, student.channels(self.tap)))
            self.connectors[role] = connector

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 each by default."""
        weights = {"heatmaps": self.heatmaps, "attention": self.attention}
        return {name: weights[name] for name in self.term_names if name in weights}

    def teacher_terms(self, role: str, y_true: Tensor, student: Taps, teacher: Taps) -> dict[str, Tensor]:
        """`value`, and `heatmaps` and `attention` where the loss has them."""
        terms = {"value": keypoint_l1(student["landmarks"], teacher["landmarks"])}
        if "heatmaps" in self.term_names:
            maps = probabilities(student["heatmaps"]), probabilities(teacher["heatmaps"])
            terms["heatmaps"] = heatmap_term(*maps, self.as_published)
        if "attention" in self.term_names:
            teacher_map = teacher[self.tap]
            student_map = match_size(
                pooled_to(self.connectors[role](student[self.tap]), teacher_map.shape[1]), teacher_map
            )
            terms["attention"] = attention_term(student_map, teacher_map, self.power, self.as_published)
        return terms
