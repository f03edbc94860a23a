"""Teachers that are recorded, live, several as one, or of another scheme."""

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kd_loss.datasets.augment import Augmentation, warp
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks import load_network
from kd_loss.runs.history import read_history
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.training.method_specs import parse_methods
from kd_loss.training.options import StudentOptions
from kd_loss.training.teachers.choose import RECORDED, Recorder, choose_mode
from kd_loss.training.teachers.files import open_sources
from kd_loss.training.teachers.recorded import Views, answers_key, recorded_answers
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher
from kd_loss.training.train_student import train_student

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def test_recorded_views_are_what_the_live_teacher_says(options, synthetic, tmp_path):
    split = synthetic.split("train")
    network = load_network(options.runs / "synthetic" / "teacher-tough" / "best.h5")
    live = LiveTeacher(network, ["landmarks", "embedding"])
    views = Views(2, Augmentation(), seed=4)
    key = answers_key("w", "d", ["landmarks", "embedding"], 32, views)
    ask = lambda images: {name: np.asarray(v) for name, v in live.model.predict_on_batch(images).items()}  # noqa: E731
    answers, _ = recorded_answers(ask, split, tmp_path, key, size=32, views=views, limit=1.0)
    order = FaceSampler(split, shuffled=True, seed=4)
    loader = FaceLoader(order, CropTransform(32, Augmentation(), count=2), batch_size=8, answers={"tough": answers})
    recorded = RecordedTeacher(answers, network)
    for loader.epoch in range(3):
        images, targets = loader[1]
        said = recorded(images, {tap: targets[f"tough/{tap}"] for tap in answers.taps})
        for tap, value in live(images, {}).items():
            np.testing.assert_allclose(said[tap], value, atol=1e-4)
    assert recorded.channels("embedding") == live.channels("embedding") == 64


def test_training_with_cached_teachers(options):
    live, cached, views = (
        train_student(dataclasses.replace(options, augment_strength=0.1, **changes))
        for changes in (
            {"teacher_mode": "live"},
            {"teacher_mode": "cached"},
            {"teacher_views": 1, "method": ["kd_loss", "srrl"]},
        )
    )
    assert len([p for p in (options.runs / "synthetic" / "teacher-answers").iterdir() if p.is_dir()]) == 4
    rows = [read_history(folder / "history.csv")[0] for folder in (live, cached, views)]
    assert "srrl.regression" in rows[2]
    for term in ("main", "tough", "tolerant"):
        # teachers of one epoch answer otherwise about a mirrored face than they would mirrored
        assert rows[1][term] == pytest.approx(rows[0][term], rel=0.6)
        assert rows[1][term] != rows[0][term]


def test_impossible_teacher_modes(options):
    for changes, message in (
        ({"teacher_mode": "lazy"}, "unknown teacher mode 'lazy'"),
        ({"teacher_mode": "cached", "method": ["srrl"]}, "embedding do not travel with an image"),
        ({"teacher_views": -1}, "--teacher-views -1"),
        ({"cache_limit": 0.0}, "--cache-limit 0"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(options, **changes))


@pytest.fixture
def stranger(tmp_path):
    """A teacher of another runtime with 70 points: the mean face of its training, moved by the picture's colours."""
    file = tmp_path / "stranger.py"
    file.write_text(
        "import numpy as np\n"
        "def find(images):\n"
        "    grid = np.stack(np.meshgrid(np.linspace(-.4, .4, 7), np.linspace(-.4, .4, 10)), -1).reshape(1, 70, 2)\n"
        "    small = images[:, ::4, ::4].reshape(len(images), -1)[:, :140].reshape(-1, 70, 2)\n"
        "    return grid + 0.1 * (small / 255 - 0.5)\n"
    )
    return f"{file}:find"


def test_views_of_a_crop_are_not_what_a_teacher_with_context_sees():
    asked = StudentOptions(teacher_views=2)
    wide = SimpleNamespace(role="mesh", scheme=W300, context=1.2)
    with pytest.raises(UserError, match="mesh needs more than a crop .*: remove --teacher-views"):
        choose_mode(asked, [wide], ["landmarks"], W300)
    assert choose_mode(StudentOptions(), [wide], ["landmarks"], W300) == RECORDED


def test_a_teacher_of_another_scheme_is_read_through_a_map(options, stranger, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    with_map = dataclasses.replace(options, method=["ail"], teacher=[f"stranger={stranger}"], map_points=True)
    folder = train_student(with_map)
    assert any("70 points mapped to 68" in line for line in caplog.messages)
    kept = np.load(folder / "map-stranger.npz")
    assert kept["kernel"].shape == (140, 136)
    assert np.load(folder / "errors-stranger.npy").shape == (40,)
    for changes, message in (
        ({"map_points": False}, "predicts 70 points, the dataset has 68; --map-points"),
        (
            {"teacher_mode": "live"},
            "stranger has another runtime or scheme, a mirrored mean or several networks, and can only",
        ),
        ({"teacher_views": 2}, "remove --teacher-views"),
        ({"method": ["srrl"], "teacher_views": 1}, "no tap 'embedding'; it has: landmarks"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(with_map, **changes))


def test_several_networks_and_their_mirror_images_are_one_teacher(options, synthetic, caplog):
    tough, tolerant = (str(options.runs / "synthetic" / f"teacher-{r}" / "best.h5") for r in ("tough", "tolerant"))
    caplog.set_level(logging.INFO, "kd_loss")
    both = dataclasses.replace(options, method=["kd"], teacher=[f"both={tough}+{tolerant}"], teacher_mirror=True)
    folder = train_student(both)
    card = load_network(folder / "best.h5").card
    assert [member["arch"] for member in card.training["teachers"]["both"]] == ["tiny", "tiny"]
    # by hand: four answers about each face, the mirrored ones turned back
    split = synthetic.split("train")
    images = np.stack([warp(split.images[i], IDENTITY, 32, split.border) for i in range(4)])
    mirrored = np.stack([warp(split.images[i], IDENTITY * [[-1, 1, 1]], 32, split.border) for i in range(4)])
    answers = []
    for file in (tough, tolerant):
        network = load_network(Path(file)).model
        answers.append(np.asarray(network.predict_on_batch(images)))
        back = np.asarray(network.predict_on_batch(mirrored))[:, split.scheme.flip_index] * [-1, 1]
        answers.append(back)
    methods = parse_methods(["kd"], [])
    sources = open_sources(both, methods, synthetic)
    recorder = Recorder(both, synthetic, ["landmarks"], Augmentation())
    seen = recorder.answers(sources, split, synthetic.manifest["sha256"]["train/images.npy"], ["landmarks"])
    np.testing.assert_allclose(seen.landmarks[0, :4], np.mean(answers, axis=0), atol=1e-3)
    for changes, message in (
        ({"method": ["srrl"], "teacher": [f"t={tough}"]}, "--teacher-mirror predicts landmarks only"),
        ({"teacher_mode": "live"}, "both has another runtime or scheme, a mirrored mean or several networks"),
        ({"teacher_views": 2}, "predicts the faces as they are"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(both, **changes))
