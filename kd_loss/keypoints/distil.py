"""The command `distil-keypoints`: trains a small detector on the predictions of a large one, without annotation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
from keras import ops

from kd_loss.distillation.feature_maps import match_size
from kd_loss.distillation.keypoints import attention_term, heatmap_term, pooled_to, shared_in_cells_of
from kd_loss.keypoints import losses
from kd_loss.keypoints.clips import PictureLoader, read_pictures
from kd_loss.keypoints.options import KeypointDistillationOptions
from kd_loss.keypoints.train import fit_detector
from kd_loss.keypoints.trainer import TermModel
from kd_loss.keypoints.warp import warp_images
from kd_loss.networks.keypoint_detector import (
    KeypointCard,
    KeypointDetector,
    build_detector,
    load_detector,
    load_start,
    take_trunk,
)
from kd_loss.runs.folder import start_record
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256

log = logging.getLogger(__name__)

Tensor = Any


class KeypointDistiller(TermModel):
    """Trains a student by `fit` on batches of `clips.PictureLoader`; the teacher sees the same warped images.

    L1 = MSE(kp) + MSE(J); L2 = L1 + the heatmaps' difference; L3 = L2 + that of the attention of both encoders'
    outputs, the student's through a 1 × 1 convolution and max-pooling to the teacher's shape. Metrics: the terms, AKD.

    Args:
        loss: one of `LOSSES`; as_published: see `distillation.keypoints`; power: of the attention.
    """

    def __init__(
        self,
        student: KeypointDetector,
        teacher: KeypointDetector,
        loss: str = "L1",
        as_published: bool = False,
        power: float = 2.0,
    ):
        super().__init__("keypoint_distiller")
        self.student = student.with_encoder()
        frozen = teacher.with_encoder()
        frozen.trainable = False
        self._frozen = [lambda images: frozen(images, training=False)]  # hidden from Keras's tracking
        self.as_published, self.power = as_published, power
        terms = ["value", *(["heatmaps"] if loss != "L1" else []), *(["attention"] if loss == "L3" else [])]
        student_shape, teacher_shape = (model.output["encoder"].shape for model in (self.student, frozen))
        if loss == "L3":
            if teacher_shape[1] * teacher_shape[2] == 1:
                raise UserError(
                    "the teacher's encoder ends in a single cell, where attention is undefined: use --loss L2"
                )
            self.connector = keras.layers.Conv2D(teacher_shape[-1], 1, name="connector")
            self.connector.build((None, None, None, student_shape[-1]))
        self.track(dict.fromkeys(terms, 1.0), "akd")

    def call(self, batch: dict[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        """The student's outputs on the warped images, and these images (B, S, S, 3)."""
        images = warp_images(batch["affine"], batch["plate"], ops.cast(batch["image"], "float32"))
        return {**self.student(images, training=training), "image": images}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The sum of the terms."""
        teacher_outputs = {name: ops.stop_gradient(value) for name, value in self._frozen[0](y_pred["image"]).items()}
        values = {"value": losses.value_and_slope(y_pred, teacher_outputs)}
        if "heatmaps" in self.terms:
            values["heatmaps"] = heatmap_term(
                y_pred["heatmaps"], teacher_outputs["heatmaps"], self.as_published, shared_in_cells_of
            )
        if "attention" in self.terms:
            features = pooled_to(self.connector(y_pred["encoder"]), teacher_outputs["encoder"].shape[1])
            features = match_size(
                features, teacher_outputs["encoder"]
            )  # for a student whose encoder ends in fewer cells
            values["attention"] = attention_term(features, teacher_outputs["encoder"], self.power, self.as_published)
        akd = losses.average_keypoint_distance(y_pred["keypoints"], teacher_outputs["keypoints"])
        self.record({**values, "akd": akd})
        return ops.mean(sum(values.values()))


def run_distil_keypoints(options: KeypointDistillationOptions) -> Path:
    """Train a student; its run folder, with `best.h5` (by AKD on persons held out), its card and `sheet.png`."""
    teacher = load_detector(Path(options.teacher))
    card = teacher.card
    pictures = read_pictures(Path(options.clips), card.size, card.crop)
    train, held = pictures.split(options.validation)
    loader = PictureLoader(pictures, train, options.batch_size, options.seed)
    validation = PictureLoader(pictures, held, options.batch_size, options.seed, train=False) if len(held) else None
    training = {
        "teacher": sha256(Path(options.teacher)),
        "loss": options.loss + (" to the letter" if options.as_published else ""),
        "init": Path(options.init).name,
        "epochs": options.epochs,
        "seed": options.seed,
        "pictures": len(loader.rows),
    }
    student = build_detector(
        KeypointCard(options.arch, options.alpha, card.points, card.size, card.crop, options.stride, training=training),
        options.seed,
    )
    if options.init:
        log.info(take_trunk(student, load_start(Path(options.init)).model))
    distiller = KeypointDistiller(student, teacher, options.loss, options.as_published, options.power)
    steps = len(loader) * options.epochs
    return fit_detector(
        distiller,
        student,
        (loader, validation),
        options,
        default_name=f"student-{options.loss}",
        decided_by={
            "clips_sha256": pictures.checksum,
            "teacher_sha256": training["teacher"],
            **start_record(options.init),
        },
        monitor="val_akd",
        about=f"teacher {card.arch} with {teacher.model.count_params():,}, {len(loader.rows)} images, {steps} steps",
        shown=(pictures, held if len(held) else train),
    )
