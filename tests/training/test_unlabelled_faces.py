"""Photographs without landmarks beside annotated faces."""

import dataclasses
import json
import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kd_loss.datasets.transform import Answers
from kd_loss.detection import open_detector
from kd_loss.distillation import get_method
from kd_loss.networks import Card, build_network
from kd_loss.runs.history import read_history
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.teachers.teacher import RecordedTeacher
from kd_loss.training.train_student import train_student
from kd_loss.training.train_teachers import train_teachers
from kd_loss.training.unlabelled_faces import DETECTOR, _read, listing_checksum


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    common = {
        "dataset": "synthetic", "arch": "tiny", "epochs": 1, "batch_size": 8, "size": 32, "data": data_folder,
        "head": "pooled",
        "runs": tmp_path_factory.mktemp("runs"),
    }  # fmt: skip
    train_teachers(TeacherOptions(role="tough", **common))
    return StudentOptions(validation=0.2, method=["kd"], **common)


class Anywhere:
    """Finds a face in the middle of every picture: drawn faces are not what detectors are trained on."""

    def __init__(self, name):
        assert name == "finder"

    def __call__(self, image):
        from kd_loss.detection import Detection

        height, width = image.shape[:2]
        return [Detection((0.2 * width, 0.2 * height, 0.6 * width, 0.6 * height), 1.0)]


@pytest.fixture
def photographs(synthetic, tmp_path):
    """Ten pictures, one of which does not decode."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i, image in enumerate(synthetic.split("test").images[:9]):
        cv2.imwrite(str(folder / f"{i}.png"), image[..., ::-1])
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_unlabelled_faces_take_part(options, photographs, monkeypatch, caplog):
    monkeypatch.setattr("kd_loss.training.unlabelled_faces.open_detector", Anywhere)
    caplog.set_level(logging.INFO, "kd_loss")
    folder = train_student(dataclasses.replace(options, unlabelled=str(photographs), teacher_mode="cached"))
    assert "unlabelled: 9 faces found in 10 photographs of " + str(photographs) in caplog.messages
    assert "objective: 1·main + 1·imitation + 1·mixed" in caplog.messages
    record = json.loads((folder / "config.json").read_text())["decided_by"]
    assert record["photographs_sha256"] == listing_checksum(photographs)
    (photographs / "8.png").unlink()
    assert record["photographs_sha256"] != listing_checksum(photographs)
    row = read_history(folder / "history.csv")[0]
    assert row["loss"] == pytest.approx(row["main"] + row["imitation"] + row["mixed"], rel=1e-4)
    # the crops are kept: asking for them again does not look for faces
    monkeypatch.setattr(Anywhere, "__call__", lambda self, image: [])
    assert list((options.runs / "synthetic" / "unlabelled").glob("*/images.npy"))


def test_what_counts_on_which_faces():
    """Two annotated faces, two unlabelled, two mixtures; every error is known."""
    scheme = LandmarkScheme("five", 5, normalisers={"eyes": ((0,), (1,))})
    student = build_network(Card("tiny", 0.5, "five", scheme.to_dict(), 32, "student", 0.15))
    truth = np.random.default_rng(0).normal(0, 0.2, (6, 5, 2)).astype("float32")
    answers = Answers({"landmarks": truth[None] + 0.5})
    kd = get_method("kd")
    distiller = Distiller(
        student=student, methods={kd: 1.0}, teachers={"tough": RecordedTeacher(answers)}, scheme=scheme,
        unlabelled_weight=0.25, mix_weight=3.0,
    )  # fmt: skip
    away = np.array([0.01, 0.03, 0.1, 0.3, 0.02, 0.04], np.float32)  # how far the student is off
    loss = distiller.compute_loss(
        x=None,
        y={"landmarks": truth, "tough/landmarks": truth + 0.5, "kind": np.array([0, 0, 1, 1, 2, 2], np.float32)},
        y_pred={"landmarks": truth + away[:, None, None]},
    )
    main = (0.01 + 0.03) / 2  # annotated faces alone
    imitation = (0.49 + 0.47) / 2 + 0.25 * (0.4 + 0.2) / 2
    mixed = (0.02 + 0.04) / 2
    assert float(loss) == pytest.approx(main + imitation + 3 * mixed, rel=1e-5)
    results = {name: float(metric.result()) for name, metric in distiller.trackers.items()}
    assert results["main"] == pytest.approx(main)
    assert results["imitation"] == pytest.approx(imitation, rel=1e-5)
    assert results["mixed"] == pytest.approx(mixed)
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    assert results["nme"] == pytest.approx(100 * np.mean(away[:2] * 2**0.5 / eyes[:2]), rel=1e-4)
    assert get_method("min").distilling_terms == ("main",)


def test_a_teachers_prediction_for_a_crop():
    """In the dataset's own targets where they can be derived from it, otherwise by the teacher's scheme."""
    own, other = (PoseScheme("own", "w300", mean=(0.0, 0, 0, 0, 0, depth)) for depth in (0.0, 0.5))
    teacher = SimpleNamespace(map=None, scheme=other)
    scheme, [read] = _read(np.zeros((1, 2, 3)), teacher, own)  # a head as in its own training faces
    np.testing.assert_allclose(read, [[0, 0, 0], [0, 0, 0.5]])
    # smaller than in the dataset's crops: a smaller crop, e^−0.5 of it, about the same middle
    np.testing.assert_allclose(scheme.crop_again([10, 20, 80], read, 0.15)[2], 80 * np.exp(-0.5))
    few = LandmarkScheme("few", 5, normalisers={"eyes": ((0,), (1,))})
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (1, 5, 2))
    scheme, [read] = _read(points, SimpleNamespace(map=None, scheme=few), W300)
    assert scheme is few
    np.testing.assert_array_equal(read, points[0])


def test_bad_folders(options, tmp_path, photographs, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"no picture")
    monkeypatch.setattr(Anywhere, "__call__", lambda self, image: [])
    monkeypatch.setattr("kd_loss.training.unlabelled_faces.open_detector", Anywhere)
    for changes, message in (
        ({"unlabelled": str(tmp_path / "none")}, "no such folder"),
        ({"unlabelled": str(empty)}, "no image in it"),
        ({"unlabelled": str(broken)}, "none of its 1 images can be read"),
        ({"unlabelled": str(photographs)}, "no face was found in its 9 readable images"),
        ({"unlabelled": str(photographs), "method": ["none"]}, "not --method none"),
        ({"unlabelled": str(photographs), "mix_weight": -1.0}, "--mix-weight -1 is out of range"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(options, **changes))


def test_the_detector_on_real_faces(real_faces):
    from kd_loss.archives.pts import read_pts

    files = sorted((real_faces / "300W" / "helen" / "testset").glob("*.pts"))[:40]
    detect, near = open_detector(DETECTOR), 0
    for file in files:
        image = cv2.imread(str(next(p for p in file.parent.glob(f"{file.stem}.*") if p.suffix in (".jpg", ".png"))))
        points = read_pts(file, 68)
        low, high = points.min(0), points.max(0)
        side = (high - low).max()
        for face in detect(image[..., ::-1].copy()):
            x, y, width, height = face.box
            centre = np.array([x + width / 2, y + height / 2])
            near += bool(np.abs(centre - (low + high) / 2).max() < 0.3 * side and 0.6 < width / side < 1.6)
    assert near > 0.9 * len(files)
