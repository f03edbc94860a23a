"""Head poses through the whole job: the same commands, methods and teachers as landmarks."""

import csv
import dataclasses
import json
import logging
import shutil

import cv2
import keras
import numpy as np
import pytest

from kd_loss.archives.merge import add_faces
from kd_loss.archives.synthetic import draw_poses
from kd_loss.comparison.compare import CompareOptions, run_compare
from kd_loss.datasets.contact_sheets import write_sheets
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.detection import Detection
from kd_loss.distillation.none import NoDistillation
from kd_loss.evaluation.pose_result import PoseResult
from kd_loss.evaluation.test_command import EvaluationOptions, run_test
from kd_loss.export.export_command import ExportOptions, run_export
from kd_loss.imaging.rotations import from_angles, geodesic, to_angles, to_matrices, to_vectors
from kd_loss.inference.predict_command import PredictOptions, run_predict
from kd_loss.networks import Card, load_network
from kd_loss.runs.folder import data_record
from kd_loss.runs.history import read_history
from kd_loss.runtimes.crop_network import open_network
from kd_loss.schemes.known_yaw import encoded
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from kd_loss.training.options import StudentOptions, TeacherOptions, with_head
from kd_loss.training.train_student import train_student
from kd_loss.training.train_teachers import train_teachers


@pytest.fixture(scope="module")
def data(data_folder, tmp_path_factory):
    """`pose_synthetic` beside `synthetic`: the same 40 and 10 drawn faces of 48 px."""
    data = tmp_path_factory.mktemp("poses")
    (data / "synthetic").symlink_to(data_folder / "synthetic")
    archive = draw_poses(POSES["pose_synthetic"], 40, 48, 0.15, 0)
    prepare(archive, data / "pose_synthetic", size=48)
    return data


@pytest.fixture(scope="module")
def options(data, tmp_path_factory):
    """A tiny student, with teachers of the same kind in the same runs."""
    common = {
        "dataset": "pose_synthetic", "arch": "tiny", "batch_size": 8, "alpha": 0.5, "data": data, "head": "pooled",
        "runs": tmp_path_factory.mktemp("runs"), "epochs": 1,
    }  # fmt: skip
    train_teachers(TeacherOptions(size=48, **common))
    return StudentOptions(size=32, validation=0.2, **common)


@pytest.fixture(scope="module")
def student(options):
    """The run folder of a student by KD-Loss."""
    return train_student(dataclasses.replace(options, epochs=2))


def test_of_a_face_of_known_yaw_only_the_yaw_has_a_loss(data, student):
    scheme = open_dataset("pose_synthetic", data).scheme
    network = load_network(student / "best.h5")
    images = open_dataset("pose_synthetic", data).split("train").images[:8, 12:60, 12:60]
    images = np.stack([cv2.resize(np.asarray(image), (32, 32)) for image in images])
    distiller = Distiller(student=network, methods=[NoDistillation()], scheme=scheme, partial=True)
    predicted = np.asarray(network.model.predict(images, verbose=0)).reshape(-1, 2, 3)
    raw = scheme.raw(predicted)
    yaw = to_angles(to_matrices(raw[:, 0]))[:, 0]

    def loss(apart):
        known = np.stack([encoded(np.radians(one + apart)) for one in yaw])
        target = scheme.stored(np.stack([known, raw[:, 1]], axis=1)).astype(np.float32)
        outputs = {"landmarks": keras.ops.convert_to_tensor(predicted)}
        return float(distiller.compute_loss(None, target, outputs))

    assert loss(0) == pytest.approx(0, abs=1e-4)
    # a pure turn of 2 degrees, over the deviation of the rotation vector's second number and six numbers
    turn = np.radians(2) / scheme.deviation[1] / 6
    assert loss(2) == pytest.approx(turn, rel=0.2)


def test_a_training_with_faces_of_known_yaw(options, tmp_path):
    archive = draw_poses(POSES["pose_synthetic"], 40, 48, 0.15, 0)
    other = draw_poses(POSES["pose_synthetic"], 16, 48, 0.15, 7)
    rough = [dataclasses.replace(s, place=dataclasses.replace(s.place, known_yaw=(20.0, 5.0))) for s in other.samples]
    joined = add_faces(archive, dataclasses.replace(other, samples=rough))
    prepare(joined, tmp_path / "pose_synthetic", size=48)
    split = open_dataset("pose_synthetic", tmp_path).split("train")
    assert split.partial
    assert np.isnan(split.target[:, 0, 2]).sum() == np.asarray(split.extra).sum() == 16
    run = train_student(dataclasses.replace(options, data=tmp_path, runs=tmp_path / "runs", method=["none"]))
    rows = read_history(run / "history.csv")
    assert np.isfinite([rows[-1]["loss"], rows[-1]["val_degrees"]]).all()
    # the soft target of a known yaw is that yaw, and statistics are of whole rotations
    only = np.isnan(split.target[:, 0, 2])
    np.testing.assert_array_equal(split.soft[only][:, 0], split.target[only][:, 0])
    assert not np.allclose(split.soft[~only], split.target[~only], atol=1e-3)
    np.testing.assert_allclose(np.degrees(split.scheme.raw(split.target)[only, 0]), [[20, 5, np.nan]] * 16, atol=1e-3)
    result = PoseResult.of(split, np.nan_to_num(split.target), None, name="n", weights="w", network={})
    assert result.more()["yaw"] == pytest.approx(0, abs=1e-3)  # of the others
    assert result.scores()["full"].faces == 40
    write_sheets(split, tmp_path)
    assert (tmp_path / "crops.png").is_file()


def test_a_prepared_pose_is_the_drawn_one(data):
    dataset = open_dataset("pose_synthetic", data)
    split, drawn = dataset.split("train"), open_dataset("synthetic", data).split("train")
    assert split.target.shape == (40, 2, 3)
    np.testing.assert_array_equal(split.images, drawn.images)
    np.testing.assert_allclose(split.target.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(split.target.std(axis=0), 1, atol=1e-4)
    archive = draw_poses(POSES["pose_synthetic"], 40, 48, 0.15, 0)
    raw = split.scheme.raw(split.target)
    truth = np.stack([sample.place.rotation for sample in archive.samples[:40]])
    assert geodesic(to_matrices(raw[:, 0]), truth).max() < 0.01
    for index in (0, 7):
        place, affine = archive.samples[index].place, split.affine[index]
        crop = (affine[:, :2] @ place.middle + affine[:, 2] + 0.5) / 48 - 0.5
        np.testing.assert_allclose(raw[index, 1, :2], crop, atol=1e-5)
        np.testing.assert_allclose(np.exp(-raw[index, 1, 2]), place.width * affine[0, 0] / 48, rtol=1e-5)
    manifest = json.loads((data / "pose_synthetic" / "manifest.json").read_text())
    assert manifest["spec"]["kind"] == "pose"
    assert "focal length 4 crop sides" in manifest["spec"]["camera"]


def test_poses_lie_in_target_npy_and_those_of_0_1_are_read(data, tmp_path):
    """Up to 0.1 their file was called as that of landmarks; a run of then keeps its checksum."""
    dataset = open_dataset("pose_synthetic", data)
    split = dataset.split("train")
    assert sorted(p.name for p in split.folder.glob("*.npy") if p.stem in ("target", "landmarks")) == ["target.npy"]
    old = tmp_path / "pose_synthetic"
    shutil.copytree(dataset.folder, old)
    manifest = json.loads((old / "manifest.json").read_text())
    for name in ("train", "test"):
        (old / name / "target.npy").rename(old / name / "landmarks.npy")
        manifest["sha256"][f"{name}/landmarks.npy"] = manifest["sha256"].pop(f"{name}/target.npy")
    (old / "manifest.json").write_text(json.dumps(manifest))
    before = open_dataset("pose_synthetic", tmp_path)
    np.testing.assert_array_equal(before.split("train").target, split.target)
    assert data_record(before, soft=True) == data_record(dataset, soft=True)
    assert len(data_record(before, soft=True)) == 3


def test_kd_loss_learns_poses(student):
    history = read_history(student / "history.csv")
    assert {"loss", "main", "tough", "tolerant", "degrees", "val_degrees"} <= history[0].keys()
    card = Card.read(student / "best.h5")
    assert isinstance(card.scheme(), PoseScheme)
    assert "rotation vector" in card.outputs
    assert card.metrics.keys() == {"validation_degrees"}
    assert load_network(student / "best.h5").model.output_shape == (None, 2, 3)
    with pytest.raises(UserError, match="predicts a head pose; landmarks are required"):
        card.landmark_scheme()


def test_methods_work_unchanged(options):
    every = ["imitation", "min", "bound", "pil", "ail", "aht", "srrl", "rkd"]
    folder = train_student(dataclasses.replace(options, method=every, method_arg=["aht.attend=False"]))
    [row] = read_history(folder / "history.csv")
    assert {"ail.imitation", "aht.imitation", "srrl.regression"} <= row.keys()
    assert all(np.isfinite(v) for v in row.values())


@pytest.mark.slow
def test_two_stages_with_attention(options):
    staged = dataclasses.replace(
        options, stages=["aht=1", "ail=1@embedding"], method_arg=["aht.alpha=0.0"], name="staged", method=["none"]
    )
    folder = train_student(staged)
    assert folder.name == "staged"


@pytest.mark.slow
def test_landmarks_and_pnp_as_a_teacher(options, data, caplog):
    """A landmark student's answers are read as poses; so are the raw numbers of a Python function."""
    # with heatmaps, whose spread says nothing of a pose
    marks = dataclasses.replace(options, dataset="synthetic", method=["none"], head="heatmap")
    landmarks = train_student(marks) / "best.h5"
    caplog.set_level(logging.INFO, "kd_loss")
    mine = dataclasses.replace(options, method=["imitation"], teacher=[f"pnp={landmarks}"])
    folder = train_student(mine)
    assert any("recorded on" in line for line in caplog.messages)
    assert json.loads((folder / "config.json").read_text())["decided_by"]["teachers"]["pnp"]["arch"] == "tiny"
    function = options.runs / "teacher.py"
    function.write_text(
        "import numpy as np\n"
        "def pose(images):\n    return np.zeros((len(images), 2, 3))\n"
        "def points(images):\n    return np.zeros((len(images), 68, 2))\n"
    )
    train_student(dataclasses.replace(mine, teacher=[f"mine={function}:pose"]))
    with pytest.raises(UserError, match=r"not landmarks \(B, M, 3\)"):
        train_student(dataclasses.replace(mine, teacher=[f"mine={function}:points"]))
    metrics = run_test(
        EvaluationOptions(
            weights=[str(landmarks)], dataset="pose_synthetic", compare_with_runs=False, data=data, runs=options.runs,
            output=str(options.runs / "pnp"),
        )
    )  # fmt: skip
    assert metrics["networks"][0]["scores"]["full"]["faces"] == 10


def test_photographs_without_poses_take_part(options, data, tmp_path, monkeypatch, caplog):
    """Cropped again from a pose and from a function's raw numbers; what the teachers say is their pose."""
    for index, image in enumerate(open_dataset("synthetic", data).split("test").images[:6]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    monkeypatch.setattr(
        "kd_loss.training.unlabelled_faces.open_detector",
        lambda name: lambda image: [Detection((20, 20, image.shape[1] - 40, image.shape[0] - 40), 1.0)],
    )
    function = tmp_path / "teacher.py"
    function.write_text(
        "import numpy as np\n"
        "def pose(images):\n    return np.tile([[0.0, 0.5, 0.0], [0.0, 0.0, 0.3]], (len(images), 1, 1))\n"
    )
    for teacher in ([], [f"mine={function}:pose"]):
        caplog.clear()
        caplog.set_level(logging.INFO, "kd_loss")
        asked = dataclasses.replace(options, method=["kd"], teacher=teacher, unlabelled=str(tmp_path))
        folder = train_student(asked)
        assert "unlabelled: 6 faces, the mean of 1 teachers' predictions as their poses" in caplog.messages
        [row] = read_history(folder / "history.csv")
        assert row["mixed"] > 0
    kept = {}
    monkeypatch.setattr("kd_loss.training.train_student.Training", lambda *_, **given: kept.update(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):  # no need to train again
        train_student(dataclasses.replace(asked, teacher_views=2))
    said = kept["unlabelled"].answers["mine"].landmarks
    raw = [[0.0, 0.5, 0.0], [0.0, 0.0, 0.3]]  # also about augmented views in the dataset's own numbers
    stored = open_dataset("pose_synthetic", data).scheme.stored(raw)
    np.testing.assert_allclose(said, np.tile(stored, (2, 6, 1, 1)), atol=1e-6)
    crops = [np.load(path) for path in sorted((options.runs / "pose_synthetic" / "unlabelled").glob("*/images.npy"))]
    assert len(crops) == 2
    assert not np.array_equal(crops[0], crops[1])


def test_a_network_for_poses_has_a_pooled_head_by_itself(options):
    data = options.data
    poses, faces = (open_dataset(name, data).scheme for name in ("pose_synthetic", "synthetic"))
    plain = StudentOptions()
    assert (with_head(plain, poses).head, with_head(plain, faces).head) == ("pooled", "heatmap")
    assert with_head(dataclasses.replace(plain, head="heatmap"), poses).head == "heatmap"  # which is refused


def test_what_is_of_points_in_a_plane_is_refused(options):
    for changes, message in (
        ({"head": "heatmap", "method": ["none"]}, "give --head pooled"),
        ({"method": ["auxiliary"]}, r"auxiliary_error: y_true is an array \(2, 2, 3\)"),
        ({"unlabelled": "nowhere", "method": ["none"]}, "whose predictions replace the poses"),
        ({"visibility": True}, "--visibility is for landmarks, and the targets of pose_synthetic are head poses"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(options, **changes))


def test_a_report_of_poses(student, data, options):
    metrics = run_test(
        EvaluationOptions(
            weights=[str(student / "best.h5")],
            dataset="pose_synthetic",
            compare_with_runs=False,
            data=data,
            runs=options.runs,
        )
    )
    [network] = metrics["networks"]
    full = network["scores"]["full"]
    stored = np.load(student / "predictions.npz")
    np.testing.assert_allclose(full["degrees"], stored["degrees"].mean())
    angles = [to_angles(to_matrices(stored[key][:, 0])) for key in ("predicted", "truth")]
    np.testing.assert_allclose(full["yaw"], np.abs(angles[0] - angles[1]).mean(axis=0)[0], rtol=1e-6)
    assert "R_y(-yaw) R_x(-pitch) R_z(roll)" in network["convention"]
    page = (student / "report.html").read_text()
    assert "per range of yaw" in page
    assert "6DRepNet" in page


@pytest.mark.slow
def test_methods_are_compared(options):
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(CompareOptions) if hasattr(options, f.name)}
    compared = CompareOptions(**{**given, "methods": ["none", "imitation"], "seeds": 1})
    summary = run_compare(compared)
    entry = summary["methods"]["imitation"]
    assert {"degrees", "yaw", "pitch", "roll", "position", "against_none"} <= entry.keys()
    page = (options.runs / "pose_synthetic" / "compare" / "report.html").read_text()
    assert "geodesic error in degrees" in page


def test_exports_give_the_same_pose(student, data, tmp_path):
    rows = run_export(
        ExportOptions(
            weights=str(student / "best.h5"), format=["litert", "onnx"], data=data, output=str(tmp_path / "export")
        )
    )
    assert max(row["max"] for row in rows) < 0.05  # degrees
    network = open_network(tmp_path / "export" / "best-fp32.tflite")
    assert network.run(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 2, 3)


def test_predict_writes_angles_and_position(student, tmp_path, caplog, monkeypatch):
    picture = tmp_path / "photo.png"
    cv2.imwrite(str(picture), np.full((60, 80, 3), 90, np.uint8))
    found = [Detection((10.0, 10.0, 30.0, 30.0), 2.0)]
    monkeypatch.setattr("kd_loss.inference.predict_command.open_detector", lambda *_, **__: lambda image: found)
    output = tmp_path / "out"
    options = PredictOptions(sources=[str(picture)], weights=str(student / "best.h5"), output=output)
    [face] = run_predict(options)
    entry = json.loads((output / "photo.json").read_text())["faces"][0]
    assert set(entry["pose"]) == {"yaw", "pitch", "roll"}
    assert len(entry["position"]) == 3
    assert not (output / "photo.pts").exists()
    header, row = csv.reader((output / "faces.csv").read_text().splitlines())
    assert header[-6:] == ["yaw", "pitch", "roll", "x", "y", "depth"]
    assert float(row[-1]) == pytest.approx(80 / face.width, abs=1e-3)  # of a camera as wide as the picture is long
    assert not (cv2.imread(str(output / "photo.png")) == 90).all()  # the axes
    # a profile from behind is no pose
    turned = dataclasses.replace(face, rotation=from_angles(130, 0, 0))
    assert turned.pose() is None
    assert turned.to_dict()["pose"] is None
    assert turned.cells() == ["", "", ""]
    monkeypatch.setattr("kd_loss.inference.pose.PosePredictor.detect", lambda *_: [turned])
    run_predict(options)
    assert "no pose of face 1: its yaw is outside −99…99 degrees" in caplog.text


def test_a_head_is_cropped_where_training_saw_it(student):
    """The square around a head that lies as the training faces do on the average is that of its crop."""
    from kd_loss.inference.pose import FacePose

    scheme = Card.read(student / "best.h5").scheme()
    x, y, depth = scheme.mean[3:]
    side = 100.0
    face = FacePose(
        np.eye(3), (50 + x * side, 40 + y * side), side * float(np.exp(-depth)), (0, -10, side, side), scheme, 0.15
    )
    left, top, length, _ = face.landmark_box()
    np.testing.assert_allclose([left + length / 2, top + length / 2, length * 1.3], [50, 40, side])
    assert face.plausible()
    assert not dataclasses.replace(face, crop_box=(60, -10, side, side)).plausible()
    assert to_vectors(face.rotation).max() == 0


@pytest.mark.slow
def test_a_training_without_faces_held_out_and_one_that_waits_for_a_better_epoch(options):
    """No column counts, or that of poses."""
    folder = train_student(dataclasses.replace(options, method=["none"], validation=0.0))
    assert "val_degrees" not in read_history(folder / "history.csv")[0]
    patient = dataclasses.replace(options, method=["none"], epochs=3, patience=1, learning_rate=1e-9)
    assert 1 < len(read_history(train_student(patient) / "history.csv")) <= 3
