"""The commands, on clips of drawn faces and a tiny network."""

import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest

from kd_loss.archives.synthetic import draw_poses
from kd_loss.datasets.prepare import prepare
from kd_loss.keypoints.distil import run_distil_keypoints
from kd_loss.keypoints.evaluate import run_test_keypoints
from kd_loss.keypoints.options import KeypointDistillationOptions, KeypointOptions, KeypointTestOptions
from kd_loss.keypoints.train import run_train_keypoints
from kd_loss.networks import Card, build_network
from kd_loss.networks.input_scaling import input_scaling
from kd_loss.networks.keypoint_detector import (
    KeypointCard,
    build_detector,
    load_detector,
    load_start,
    save_detector,
    take_trunk,
)
from kd_loss.networks.landmark_net import LandmarkNet, take_weights
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.pose import POSES
from kd_loss.synthetic.clips import draw_clip
from kd_loss.system.errors import UserError
from kd_loss.training.callbacks import Checkpoint


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for person in range(5):
        for frame, image in enumerate(draw_clip(72, 0, person, 3)):
            cv2.imwrite(str(folder / f"person{person}_0{frame}.png"), image[:, :, ::-1])
    return folder


def teacher_options(clips, runs, **more):
    given = {"arch": "tiny", "points": 3, "batch_size": 2, "epochs": 2, "validation": 0.3, **more}
    return KeypointOptions(clips=str(clips), runs=runs, **given)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return run_train_keypoints(teacher_options(clips, runs, name="whole"))


def keypoints(path, images):
    return load_detector(path).find(images)


def test_a_run_holds_detector_history_and_sheet(run):
    card = json.loads((run / "best.json").read_text())
    assert card["kind"] == "keypoints"
    assert card["training"]["clips"] + card["training"]["held_out"] == 5
    assert card["metrics"]["val_loss"] > 0
    history = (run / "history.csv").read_text().splitlines()
    assert len(history) == 3
    assert {"pyramid", "value", "jacobian", "val_value"} <= set(history[0].split(","))
    assert cv2.imread(str(run / "sheet.png")).shape[1] == 9 * 3 * 64
    assert (run / "animator.weights.h5").is_file()


def test_a_run_is_kept_as_every_trainings_is(run):
    log = (run / "log.txt").read_text()
    assert "objective: 100·pyramid + 10·value + 10·jacobian" in log
    assert f"-> {run / 'best.h5'}" in log
    assert cv2.imread(str(run / "curves.png")) is not None
    assert load_detector(run / "last.h5").card.metrics == {}
    assert json.loads((run / "finished.json").read_text())["epochs"] == 2


@pytest.mark.slow
def test_a_resumed_training_ends_in_the_same_weights(run, clips, tmp_path, monkeypatch):
    epoch_end = Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    options = teacher_options(clips, tmp_path, name="part")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run_train_keypoints(options)
    folder = run_train_keypoints(teacher_options(clips, tmp_path, name="part", resume=True))
    images = draw_clip(64, 1, 0, 2)
    again, whole = (np.load(place / "state.npz") for place in (folder, run))
    assert again.files == whole.files
    assert all((again[name] == whole[name]).all() for name in whole.files if name != "record")
    assert keypoints(folder / "best.h5", images).shape == (2, 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "letter"), [("L1", False), ("L3", True), ("L3", False)])
def test_a_student_comes_nearer_to_its_teacher(run, clips, tmp_path, loss, letter):
    options = KeypointDistillationOptions(
        teacher=str(run / "best.h5"), clips=str(clips), arch="tiny", alpha=0.5, loss=loss, as_published=letter,
        epochs=3, batch_size=5, learning_rate=3e-3, validation=0.0, runs=tmp_path,
    )  # fmt: skip
    folder = run_distil_keypoints(options)
    rows = (folder / "history.csv").read_text().splitlines()
    first, last = (
        dict(zip(rows[0].split(","), map(float, row.split(",")), strict=True)) for row in (rows[1], rows[-1])
    )
    assert last["value"] < 0.9 * first["value"]
    assert last["akd"] > 0
    assert ("attention" in last) == (loss == "L3")
    card = load_detector(folder / "best.h5").card
    assert card.training["loss"] == loss + (" to the letter" if letter else "")


@pytest.mark.slow
def test_a_student_whose_encoder_ends_in_fewer_cells(clips, tmp_path):
    """MobileNetV2's has 4 × 4, the hourglass's 2 × 2."""
    teacher = tmp_path / "teacher.h5"
    save_detector(build_detector(KeypointCard("mobileNetV2", 0.1, 3, 64)), teacher)
    options = KeypointDistillationOptions(
        teacher=str(teacher), clips=str(clips), arch="hourglass", alpha=0.1, loss="L3", epochs=1, runs=tmp_path
    )
    rows = (run_distil_keypoints(options) / "history.csv").read_text().splitlines()
    assert "attention" in rows[0]


@pytest.mark.slow
def test_other_clips_or_another_teacher_are_not_gone_on_with(run, clips, tmp_path):
    options = KeypointDistillationOptions(
        teacher=str(run / "best.h5"), clips=str(clips), arch="tiny", epochs=1, runs=tmp_path, name="one"
    )
    folder = run_distil_keypoints(options)
    assert run_distil_keypoints(dataclasses.replace(options, resume=True)) == folder
    with pytest.raises(UserError, match="cannot resume .*: the images of --clips are other ones"):
        run_distil_keypoints(dataclasses.replace(options, resume=True, clips="synthetic"))
    teacher = tmp_path / "teacher.h5"
    save_detector(build_detector(KeypointCard("tiny", 1.0, 3, 64), seed=9), teacher)
    with pytest.raises(UserError, match="cannot resume .*teacher was .*the teacher is another one"):
        run_distil_keypoints(dataclasses.replace(options, resume=True, teacher=str(teacher)))
    with pytest.raises(UserError, match="cannot resume .*: the images of --clips are other ones"):
        run_train_keypoints(teacher_options("synthetic", run.parents[1], name="whole", resume=True))


def test_a_dataset_of_poses_has_no_landmarks_to_read(run, tmp_path):
    prepare(draw_poses(POSES["pose_synthetic"], 4, 32, 0.15, 0), tmp_path / "pose_synthetic", size=32)
    with pytest.raises(UserError, match="pose_synthetic is a dataset of a head pose"):
        run_test_keypoints(KeypointTestOptions(weights=[str(run / "best.h5")], dataset="pose_synthetic", data=tmp_path))


def test_keypoints_are_judged_by_landmarks(run, synthetic):
    rows = run_test_keypoints(
        KeypointTestOptions(
            weights=[str(run / "best.h5")],
            teacher=str(run / "best.h5"),
            dataset="synthetic",
            data=synthetic.folder.parent,
        )
    )
    assert [row["name"] for row in rows[:2]] == ["mean shape", "the first one, untrained"]
    assert rows[2]["akd"] == 0 < rows[1]["akd"]
    assert all(row["low"] < row["nme"] < row["high"] for row in rows)
    assert (run / "faces.png").is_file()


def test_starts_are_taken_by_name(run):
    """All but the heads, from keypoints to landmarks and back."""
    source, target = (build_detector(KeypointCard("tiny", 1.0, points, 64), seed) for points, seed in ((3, 1), (5, 2)))
    said = take_trunk(target, source.model)
    assert said.endswith("the heads apart")
    taken = target.model.get_layer("conv3").get_weights()[0]
    assert (taken == source.model.get_layer("conv3").get_weights()[0]).all()
    assert target.model.get_layer("keypoint_maps").kernel.shape[-1] == 5
    with pytest.raises(UserError, match="has a different shape: is its width not 0.5"):
        take_trunk(build_detector(KeypointCard("tiny", 0.5, 3, 64)), source.model)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="unlike")])
    with pytest.raises(UserError, match="--init has no layer of tiny"):
        take_trunk(target, other)
    # the kernel that subsamples pictures is another one for each size
    large, small = (build_detector(KeypointCard("hourglass", 0.1, 3, size)) for size in (256, 128))
    assert take_trunk(small, large.model).endswith("the heads apart")
    landmarks = build_network(Card("hourglass", 0.1, "w300", W300.to_dict(), 256, "student", 0.15, head="heatmap"))
    start = LandmarkNet(small.trunk(), Card("hourglass", 0.1, "clips", {}, 128, "keypoint detector", margin=0.0))
    assert take_weights(landmarks, start).startswith("started from keypoint detector hourglass")
    start = load_start(run / "best.h5")
    assert start.card.role == "keypoint detector"
    assert "keypoint_maps" not in [layer.name for layer in start.model.layers]
    card = Card("tiny", 1.0, "w300", W300.to_dict(), 64, "student", 0.15, head="heatmap", cut="P4")
    student = build_network(card)
    said = take_weights(student, start)
    assert said.startswith("started from keypoint detector tiny on clips")
    assert said.endswith("all but decoder_heatmaps taken")
    assert input_scaling(student.model)[0] == pytest.approx(1 / 127.5)


def test_options_that_cannot_be_meant_are_one_line():
    for cls, values, said in (
        (KeypointOptions, {}, "give --clips"),
        (KeypointOptions, {"clips": "x", "points": 1}, "--points 1 is out of range"),
        (KeypointOptions, {"clips": "x", "alpha": 3.0}, "--alpha 3 is out of range"),
        (KeypointOptions, {"clips": "x", "size": 80}, "--size 80 is not a multiple of 64"),
        (KeypointOptions, {"clips": "x", "crop": 2.0}, "--crop 2 is out of range"),
        (KeypointOptions, {"clips": "x", "stride": 3}, "--stride 3 is out of range"),
        (KeypointOptions, {"clips": "x", "epochs": 0}, "--epochs 0 is out of range"),
        (KeypointOptions, {"clips": "x", "validation": 0.0, "patience": 3}, "--patience needs a validation set"),
        (KeypointOptions, {"clips": "x", "validation": 1.0}, "--validation 1 is out of range"),
        (KeypointDistillationOptions, {"clips": "x"}, "give --teacher"),
        (KeypointDistillationOptions, {"clips": "x", "teacher": "t", "power": 0.0}, "--power 0 is out of range"),
        (KeypointDistillationOptions, {"clips": "x", "teacher": "t", "loss": "L5"}, "unknown loss 'L5'"),
        (KeypointTestOptions, {}, "give the weights"),
        (KeypointTestOptions, {"weights": ["x"], "context": 9.0}, "--context 9 is out of range"),
    ):
        with pytest.raises(UserError, match=said):
            cls(**values).check()
