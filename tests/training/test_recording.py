"""Teachers that are asked once: the record on disk, and trainings with it."""

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kd_loss.datasets.augment import Augmentation, warp
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.order import FaceOrder
from kd_loss.datasets.view import View
from kd_loss.distillation import LiveTeacher, RecordedTeacher
from kd_loss.errors import UserError
from kd_loss.networks import Card, load_network
from kd_loss.schemes.spec import W300
from kd_loss.training.asking import answers_about
from kd_loss.training.history import read_history
from kd_loss.training.methods import parse_methods
from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.recording import Views, answers_key, recorded_answers
from kd_loss.training.sources import Source, open_sources, shares_trunk
from kd_loss.training.student import train_student
from kd_loss.training.teacher import train_teachers

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def silent(_):
    pass


def quadrants(images):
    """A stand-in for a teacher: 68 points whose coordinates are grey values, and a second tap."""
    flat = images.reshape(len(images), -1)[:, :136].astype(np.float32) / 255
    return {"landmarks": flat.reshape(-1, 68, 2), "embedding": flat[:, :7]}


class Counted:
    def __init__(self):
        self.faces = 0

    def __call__(self, images):
        self.faces += len(images)
        return quadrants(images)


def record(split, folder, views=None, limit=1.0, ask=None, weights="w", data="d"):
    views = views or Views()
    key = answers_key(weights, data, ["landmarks", "embedding"], 24, views)
    return recorded_answers(ask or Counted(), split, folder, key, size=24, views=views, limit=limit)


def test_a_teacher_is_asked_once(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    answers, seconds = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    assert seconds > 0
    assert answers.landmarks.shape == (1, 40, 68, 2)
    images = FaceLoader(FaceOrder(split), View(24), batch_size=40)[0][0]
    np.testing.assert_array_equal(answers.landmarks[0], quadrants(images)["landmarks"])
    again, seconds = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    assert seconds == 0
    np.testing.assert_array_equal(again.taps["embedding"], answers.taps["embedding"])
    assert isinstance(again.landmarks, np.memmap)


def test_trainings_that_start_together_ask_once(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda _: record(split, tmp_path, ask=ask)[0].landmarks, range(4)))
    assert ask.faces == 40
    for landmarks in records:
        np.testing.assert_array_equal(landmarks, records[0])


def test_a_teacher_with_context_sees_more_and_answers_in_the_crops_coordinates(synthetic, tmp_path):
    seen = []

    def corner(images):
        seen.append(images.shape)
        points = np.full((len(images), 68, 2), 0.25, np.float32)  # a quarter of what it sees
        return {"landmarks": points, "embedding": points[:, 0]}

    answers, _ = record(synthetic.split("train"), tmp_path, ask=corner, views=Views(context=1.5))
    assert seen[0][1:] == (24, 24, 3)
    np.testing.assert_allclose(answers.landmarks, 0.375)


def test_other_weights_data_or_views_are_asked_again(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    views = Views(2, Augmentation(), seed=1)
    for changes in ({}, {"weights": "x"}, {"data": "x"}, {"views": views}):
        record(split, tmp_path, ask=ask, **changes)
    assert ask.faces == 40 + 40 + 40 + 2 * 40
    for other in (Views(2, Augmentation(), seed=2), Views(2, Augmentation().scaled(0.5), seed=1)):
        assert answers_key("w", "d", [], 24, other) != answers_key("w", "d", [], 24, views)


@pytest.mark.parametrize("damage", ["flip", "shorten", "remove", "manifest"])
def test_a_damaged_record_is_made_again(synthetic, tmp_path, damage):
    split = synthetic.split("train")
    answers, _ = record(split, tmp_path)
    right = np.array(answers.landmarks)
    [file] = tmp_path.glob("*/landmarks.npy")
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
        file.write_bytes(data)
    elif damage == "shorten":
        file.write_bytes(data[:-100])
    elif damage == "remove":
        file.unlink()
    else:
        (file.parent / "manifest.json").write_text("{")
    ask = Counted()
    again, _ = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    np.testing.assert_array_equal(again.landmarks, right)


def test_a_record_larger_than_the_limit_is_refused(synthetic, tmp_path):
    with pytest.raises(UserError, match=r"would take 0.0 GB, --cache-limit is 1e-05; raise it"):
        record(synthetic.split("train"), tmp_path, limit=1e-5)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    """A tiny student and its two teachers, of the same input size."""
    common = {
        "dataset": "synthetic", "arch": "tiny", "epochs": 1, "batch_size": 8, "size": 32, "data": data_folder,
        "runs": tmp_path_factory.mktemp("runs"), "head": "pooled",
    }  # fmt: skip
    train_teachers(TeacherOptions(**common), tell=silent)
    return StudentOptions(validation=0.2, **common)


def weights(folder):
    return load_network(folder / "last.h5").model.get_weights()


def test_recorded_views_are_what_the_live_teacher_says(options, synthetic, tmp_path):
    split = synthetic.split("train")
    network = load_network(options.runs / "synthetic" / "teacher-tough" / "best.h5")
    live = LiveTeacher(network, ["landmarks", "embedding"])
    views = Views(2, Augmentation(), seed=4)
    key = answers_key("w", "d", ["landmarks", "embedding"], 32, views)
    ask = lambda images: {name: np.asarray(v) for name, v in live.model.predict_on_batch(images).items()}  # noqa: E731
    answers, _ = recorded_answers(ask, split, tmp_path, key, size=32, views=views, limit=1.0)
    order = FaceOrder(split, shuffled=True, seed=4)
    loader = FaceLoader(order, View(32, Augmentation(), count=2), batch_size=8, answers={"tough": answers})
    recorded = RecordedTeacher("tough", answers, network)
    for loader.epoch in range(3):
        images, targets = loader[1]
        said = recorded(targets)
        for tap, value in live(images).items():
            np.testing.assert_allclose(said[tap], value, atol=1e-4)
    assert recorded.channels("embedding") == live.channels("embedding") == 64


def test_training_with_teachers_asked_once(options):
    live, cached, views = (
        train_student(dataclasses.replace(options, augment=0.1, **changes), tell=silent)
        for changes in (
            {"teachers": "live"},
            {"teachers": "cached"},
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


def test_ways_of_asking_that_cannot_be(options):
    for changes, message in (
        ({"teachers": "lazy"}, "unknown teachers 'lazy'"),
        ({"teachers": "cached", "method": ["srrl"]}, "embedding do not travel with a picture"),
        ({"teacher_views": -1}, "--teacher-views -1"),
        ({"cache_limit": 0.0}, "--cache-limit 0"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(options, **changes), tell=silent)


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


def test_a_teacher_of_another_scheme_is_read_through_a_map(options, stranger):
    told: list[str] = []
    with_map = dataclasses.replace(options, method=["ail"], teacher=[f"stranger={stranger}"], map_points=True)
    folder = train_student(with_map, tell=told.append)
    assert any("70 points mapped to 68" in line for line in told)
    kept = np.load(folder / "map-stranger.npz")
    assert kept["kernel"].shape == (140, 136)
    assert np.load(folder / "errors-stranger.npy").shape == (40,)
    for changes, message in (
        ({"map_points": False}, "finds 70 points, the dataset has 68; --map-points"),
        ({"teachers": "live"}, "stranger is of another runtime or scheme, mirrored, or several networks, and can only"),
        ({"teacher_views": 2}, "leave --teacher-views out"),
        ({"method": ["srrl"], "teacher_views": 1}, "no tap 'embedding'; it gives: landmarks"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(with_map, **changes), tell=silent)


def test_several_networks_and_their_mirror_images_are_one_teacher(options, synthetic):
    tough, tolerant = (str(options.runs / "synthetic" / f"teacher-{r}" / "best.h5") for r in ("tough", "tolerant"))
    told: list[str] = []
    both = dataclasses.replace(options, method=["kd"], teacher=[f"both={tough}+{tolerant}"], teacher_mirror=True)
    folder = train_student(both, tell=told.append)
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
        back = np.asarray(network.predict_on_batch(mirrored))[:, split.spec.flip_index] * [-1, 1]
        answers.append(back)
    methods = parse_methods(["kd"], [])
    sources = open_sources(both, methods, synthetic, silent)
    heard = answers_about(
        both, sources, ["landmarks"], split, synthetic.manifest["sha256"]["train/images.npy"], np.arange(40), silent
    )
    np.testing.assert_allclose(heard.landmarks[0, :4], np.mean(answers, axis=0), atol=1e-3)
    for changes, message in (
        ({"method": ["srrl"], "teacher": [f"t={tough}"]}, "--teacher-mirror gives landmarks alone"),
        ({"teachers": "live"}, "both is of another runtime or scheme, mirrored, or several networks"),
        ({"teacher_views": 2}, "is asked about the faces themselves"),
    ):
        with pytest.raises(UserError, match=message):
            train_student(dataclasses.replace(both, **changes), tell=silent)


def test_a_student_starts_from_its_tough_teachers_trunk(options):
    told: list[str] = []
    started = dataclasses.replace(options, init="teacher", head="heatmap", name="started", learning_rate=1e-12)
    folder = train_student(started, tell=told.append)
    assert any("started from tough tiny" in line and "all but decoder_entry" in line for line in told)
    teacher = load_network(options.runs / "synthetic" / "teacher-tough" / "best.h5").model
    student = load_network(folder / "last.h5").model
    np.testing.assert_allclose(
        student.get_layer("conv1").get_weights()[0], teacher.get_layer("conv1").get_weights()[0], atol=1e-6
    )


def test_a_teacher_of_the_same_backbone_and_width_is_seen():
    card = Card("tiny", 0.5, "synthetic", W300.to_dict(), 32, "tough", 0.15)
    source = Source("tough", 1.0, Path("t.h5"), "", SimpleNamespace(card=card))
    assert shares_trunk(source, StudentOptions(arch="Tiny", alpha=0.5))
    assert not shares_trunk(source, StudentOptions(arch="tiny", alpha=1.0))
    assert not shares_trunk(source, StudentOptions(arch="mobileNetV2", alpha=0.5))
    assert not shares_trunk(Source("tough", 1.0, Path("t.onnx"), ""), StudentOptions(arch="tiny", alpha=0.5))


def test_stages_follow_each_other(options):
    told: list[str] = []
    staged = dataclasses.replace(
        options, stages=["aht=1", "ail=1@embedding"], set=["aht.alpha=0.0", "ail.alpha=0.3"], name="staged"
    )
    folder = train_student(staged, tell=told.append)
    assert folder.name == "staged"
    first, second = (load_network(options.runs / "synthetic" / n / "last.h5") for n in ("staged-stage1", "staged"))
    for layer in second.model.layers[:-2]:
        for x, y in zip(layer.get_weights(), first.model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(x, y, err_msg=layer.name)
    assert (first.head_weights()[0] != second.head_weights()[0]).any()
    assert any("started from student tiny" in line for line in told)
    # stopped after the first stage: it goes on with the second
    whole = weights(folder)
    shutil.rmtree(folder)
    again = train_student(dataclasses.replace(staged, resume=True), tell=silent)
    for x, y in zip(weights(again), whole, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["aht"]}, r"not of the form methods=epochs\[@tap\]"),
        ({"stages": ["aht=0"]}, "not of the form"),
        ({"stages": ["kd=1", "nome=1"]}, "did you mean 'none'"),
        ({"stages": ["kd=1", "kd=1@P9"]}, "no tap 'P9'; taps are: landmarks, embedding, heatmaps, spread, P2"),
        ({"stages": ["kd=1", "aht=1"], "set": ["aht.tap=P9"]}, "no tap 'P9'"),
        ({"stages": ["kd=1"], "set": ["ail.alpha=0.5"]}, "no such method in --stages"),
        ({"freeze": "P9"}, "no tap 'P9'"),
        ({"method": ["aht"], "set": ["aht.tap=P9"]}, "no tap 'P9'"),
    ],
)
def test_bad_stages(options, changes, message):
    before = set(options.runs.glob("*/*"))
    with pytest.raises(UserError, match=message):
        train_student(dataclasses.replace(options, **changes), tell=silent)
    assert set(options.runs.glob("*/*")) == before
