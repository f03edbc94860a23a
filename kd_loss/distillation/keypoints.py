"""The losses L1 to L3 that distil a keypoint detector: a teacher's points, heatmaps and attention, and no truth.

They come from detectors that nobody's annotation trained (`keypoints.distil`); a landmark network of any kind can be
the teacher as well. Pure functions, and the method of students of landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.base import Taps, TeacherMean, Tensor, check_positive, match_size, per_sample, register
from kd_loss.distillation.features import attention_map, attention_sums
from kd_loss.distillation.heatmap import in_cells_of, probabilities
from kd_loss.networks.backbones import FEATURE_MAPS
from kd_loss.system.errors import UserError, choose

LOSSES = ("L1", "L2", "L3")


def heatmap_term(mine: Tensor, theirs: Tensor, letter: bool = False) -> Tensor:
    """What L2 adds: the squared difference of heatmaps after the softmax, (B,).

    The sum over cells and mean over keypoints; with `letter` the mean over both, as written, which is smaller by the
    number of cells. A teacher's finer maps are averaged to the student's cells and sum to 1 again.
    """
    theirs = in_cells_of(mine, theirs)
    cells = 1 if letter else mine.shape[1] * mine.shape[2]
    return cells * per_sample(ops.square(mine - theirs))


def attention_term(mine: Tensor, theirs: Tensor, power: float = 2.0, letter: bool = False) -> Tensor:
    """What L3 adds: the squared difference of Σ_c |A|^p of two encoders' outputs (B, h, w, C), (B,).

    Each map is brought to length 1 first (Zagoruyko & Komodakis, ICLR 2017) and the squares are added; with `letter`
    the mean of the squares as it is written, in units of the features.
    """
    if letter:
        return per_sample(ops.square(attention_sums(mine, power) - attention_sums(theirs, power)))
    return ops.sum(ops.square(attention_map(mine, power) - attention_map(theirs, power)), axis=1)


def pooled_to(features: Tensor, side: int) -> Tensor:
    """Feature maps (B, h, w, C), max-pooled by h // `side` where they are that much finer."""
    factor = features.shape[1] // side
    return ops.max_pool(features, factor, factor) if factor > 1 else features


@register("keypoints")
class KeypointDistillation(TeacherMean):
    """`4·e²(S, T)`, for L2 `+ Σ_z (H_S − H_T)²`, for L3 `+ ‖q(r(A_S)) − q(A_T)‖²`: the teacher alone, no truth.

    Shapes: landmarks (B, K, 2), heatmaps (B, h, w, K) before their softmax, the tap A (B, h, w, C), for which r is a
    1 × 1 convolution and max-pooling to the teacher's shape, q = Σ_c |A|^p of length 1; result (B,). L1 is in units of
    the −1…1 grid, hence 4; Jacobians, of which it has a second term, landmark networks do not give. `letter` takes the
    heatmaps' mean over cells and attention of any length, as written. Source: the distillation of the detector of
    Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019.
    """

    def __init__(
        self,
        loss: str = "L1",
        heatmaps: float = 1.0,
        attention: float = 1.0,
        power: float = 2.0,
        letter: bool = False,
        tap: str = "P4",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.loss = choose(loss, LOSSES, "keypoints.loss")
        check_positive("keypoints", heatmaps=heatmaps, attention=attention)
        if power <= 0:
            raise UserError(f"keypoints.power = {power} is not positive")
        tap = choose(tap, FEATURE_MAPS, "keypoints.tap")
        self.heatmaps, self.attention, self.power, self.letter, self.tap = heatmaps, attention, power, letter, tap
        more = {"L1": (), "L2": ("heatmaps",), "L3": ("heatmaps", "attention")}[self.loss]
        taps = {"heatmaps": "heatmaps", "attention": tap}
        self.student_taps = self.teacher_taps = ("landmarks", *(taps[name] for name in more))  # type: ignore[misc]
        self.term_names = ("value", *more)
        self.connectors: dict[str, keras.layers.Layer] = {}

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

    def terms(self, y_true: Tensor, student: Taps, teachers: Mapping[str, Taps]) -> dict[str, Tensor]:
        """`value`, and `heatmaps` and `attention` where the loss has them."""

        def value(_: str, taps: Taps) -> Tensor:
            return 4 * per_sample(ops.square(student["landmarks"] - taps["landmarks"]))

        def heatmaps(_: str, taps: Taps) -> Tensor:
            return heatmap_term(probabilities(student["heatmaps"]), probabilities(taps["heatmaps"]), self.letter)

        def attention(role: str, taps: Taps) -> Tensor:
            theirs = taps[self.tap]
            mine = match_size(pooled_to(self.connectors[role](student[self.tap]), theirs.shape[1]), theirs)
            return attention_term(mine, theirs, self.power, self.letter)

        told = {"value": value, "heatmaps": heatmaps, "attention": attention}
        return {name: self.over_teachers(teachers, told[name]) for name in self.term_names}

    def get_config(self) -> dict[str, Any]:
        """The parameters, for saving."""
        names = ("loss", "heatmaps", "attention", "power", "letter", "tap")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
