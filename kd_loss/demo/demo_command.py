"""The command `demo`: runs every step as its own command would, on drawn faces, in minutes."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.evaluation.result import test_network
from kd_loss.evaluation.test_command import write_results
from kd_loss.imaging import geometry
from kd_loss.imaging.crop import crop_face
from kd_loss.inference.predict_command import PredictOptions, run_predict
from kd_loss.synthetic.faces import draw_face, face_landmarks
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError, disk_error
from kd_loss.system.overwrite_guard import check_replaceable, record_folder
from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.train_student import train_student
from kd_loss.training.train_teachers import train_teachers

log = logging.getLogger(__name__)
DATASET = "synthetic"
MARK = ".made-by-kd-loss-demo"


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Run the whole demo; returns the metrics of the test."""
    started = time.perf_counter()
    root = options.output

    def announce(step: str) -> None:
        log.info(f"== {step} ({time.perf_counter() - started:.0f} s) ==")

    clear(root)
    try:
        return _demo(options, root, announce, started)
    finally:
        record_folder(root)


def _demo(options: DemoOptions, root: Path, announce: Callable[[str], None], started: float) -> dict[str, Any]:
    data, runs = root / "data", root / "runs"
    common: dict[str, Any] = {
        "dataset": DATASET,
        "seed": options.seed,
        "data": data,
        "runs": runs,
        "augment_strength": 0.5,
    }

    announce("prepare: draw faces")
    run_prepare(PrepareOptions(dataset=DATASET, count=options.faces, size=options.size, seed=options.seed, data=data))
    announce("teachers: tough on the landmarks, tolerant on the soft landmarks")
    common |= {"arch": options.arch, "alpha": options.alpha}
    tough, tolerant = train_teachers(TeacherOptions(epochs=options.epochs, **common))
    student = StudentOptions(head="pooled", epochs=options.student_epochs, teacher_mode="cached", **common)
    announce("student alone, from the tough teacher's trunk")
    begun = train_student(dataclasses.replace(student, method=["none"], init="teacher", name="student-trunk"))
    announce("student alone")
    alone = train_student(dataclasses.replace(student, method=["none"]))  # the newest, which `test` puts beside others
    announce("student distilled by KD-Loss, from the tough teacher's trunk")
    distilled = train_student(dataclasses.replace(student, init="teacher"))
    announce("test")
    dataset = open_dataset(DATASET, data)
    split = dataset.split("test")
    names = {
        distilled: "student, KD-Loss, from the teacher's trunk",
        begun: "student alone, from the teacher's trunk",
        alone: "student alone",
        tough: "tough teacher",
        tolerant: "tolerant teacher",
    }
    results = [test_network(folder / "best.h5", name, dataset, split, 32) for folder, name in names.items()]
    minutes = (time.perf_counter() - started) / 60
    note = (
        f"A demonstration: {options.faces} drawn faces of {options.size} px; {options.arch} of width "
        f"{options.alpha:g} throughout: teachers with heatmaps and {options.epochs} epochs, run once; students with "
        f"a pooled head, as in the paper, and {options.student_epochs} epochs, to fit a small "
        f"machine ({minutes:.0f} minutes here). Real work takes photographs, wider teachers and 150 epochs."
    )
    metrics = write_results(root, results, notes=[note], curves=distilled / "history.csv")
    announce("predict: a drawn face")
    face = root / "face.png"
    cv2.imwrite(str(face), np.ascontiguousarray(_draw_crop(options.seed + 1)[..., ::-1]))
    weights = str(distilled / "best.h5")
    run_predict(PredictOptions(sources=[str(face)], weights=weights, detector="none", output=root / "predictions"))
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes; report: {root / 'report.html'}")
    return metrics


def clear(root: Path) -> None:
    """Create the demo's folder again; a folder that no demo created is not touched."""
    if root.exists() and not (root / MARK).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} has other contents than a demo; give another --output")
    check_replaceable(root)
    try:
        if root.exists():
            shutil.rmtree(root)
        root.mkdir(parents=True)
        (root / MARK).touch()
    except OSError as error:
        raise disk_error(error, root) from None


def _draw_crop(seed: int) -> np.ndarray:
    """A drawn face outside the training set, cropped like the prepared ones, 256 px."""
    canvas = 480
    box = geometry.landmark_box(face_landmarks("w300", canvas, seed, 0))
    return crop_face(draw_face(canvas, seed, 0), geometry.square_crop(box, PrepareOptions().margin), 256)


@dataclass(frozen=True)
class DemoOptions(Options):
    """Prepare, teachers, students, test and predict on drawn faces; writes runs/demo/report.html."""

    faces: int = option(1200, "number of training faces to draw, plus a quarter for testing", within=(4, math.inf))
    size: int = option(64, "side of the images in pixels", within=(32, 1024))
    epochs: int = option(30, "epochs of each teacher", within=(1, math.inf))
    student_epochs: int = option(20, "epochs of each student", within=(1, math.inf))
    arch: str = option("mobileNetV2", "architecture of teachers and students")
    alpha: float = option(0.35, "their width multiplier", within=(0.1, 2))
    seed: int = option(0, "random seed of drawing and training", within=(0, 2**32 - 1))
    output: Path = option(Path("runs/demo"), "folder of the demo; earlier contents are replaced")
