"""The networks that teach."""

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from kd_loss.networks import Card, load_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.training.options import StudentOptions
from kd_loss.training.teachers.files import TeacherSource, shares_trunk
from kd_loss.training.train_student import train_student


def test_a_student_starts_from_its_tough_teachers_trunk(options, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    started = dataclasses.replace(options, init="teacher", head="heatmap", name="started", learning_rate=1e-12)
    folder = train_student(started)
    assert any("started from tough tiny" in line and "all but decoder_entry" in line for line in caplog.messages)
    teacher = load_network(options.runs / "synthetic" / "teacher-tough" / "best.h5").model
    student = load_network(folder / "last.h5").model
    np.testing.assert_allclose(
        student.get_layer("conv1").get_weights()[0], teacher.get_layer("conv1").get_weights()[0], atol=1e-6
    )


def test_a_teacher_of_the_same_backbone_and_width_is_seen():
    card = Card("tiny", 0.5, "synthetic", W300.to_dict(), 32, "tough", 0.15)
    source = TeacherSource("tough", 1.0, Path("t.h5"), "", SimpleNamespace(card=card))
    assert shares_trunk(source, StudentOptions(arch="Tiny", alpha=0.5))
    assert not shares_trunk(source, StudentOptions(arch="tiny", alpha=1.0))
    assert not shares_trunk(source, StudentOptions(arch="mobileNetV2", alpha=0.5))
    assert not shares_trunk(TeacherSource("tough", 1.0, Path("t.onnx"), ""), StudentOptions(arch="tiny", alpha=0.5))
