"""Answers of any teacher about any dataset: recorded once, attached to the same dataset, trained with."""

import json

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.checksums import teacher_checksum
from kd_loss.training.teachers.teacher import as_teacher

tf = pytest.importorskip("tensorflow")

SIZE, POINTS, FACES = 16, 3, 10
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (FACES, SIZE, SIZE, 3)).astype(np.uint8)
LANDMARKS = RNG.uniform(-0.4, 0.4, (FACES, POINTS, 2)).astype(np.float32)
WEIGHTS = np.arange(FACES, dtype=np.float32)


class Counting:
    """Two taps made of the picture's first grey values; counts the faces it is asked about."""

    def __init__(self):
        self.faces = 0

    def __call__(self, images):
        self.faces += len(images)
        flat = images.reshape(len(images), -1)[:, : 2 * POINTS].astype(np.float32) / 255
        return {"landmarks": flat.reshape(-1, POINTS, 2), "embedding": flat[:, :4]}


def expected(images=IMAGES):
    return Counting()(images)["landmarks"]


def calls_after(count, fresh):
    """Faces beyond the two black pictures on which a function is tried."""
    return fresh.faces - 2 * count


class Batches(keras.utils.PyDataset):
    def __init__(self, size=4, weights=False):
        super().__init__()
        self.size, self.weights, self.order = size, weights, np.arange(FACES)

    def __len__(self):
        return -(-FACES // self.size)

    def __getitem__(self, index):
        rows = self.order[index * self.size : (index + 1) * self.size]
        return (IMAGES[rows], LANDMARKS[rows], *([WEIGHTS[rows]] if self.weights else []))


def net(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, strides=4), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers, keras.layers.Dense(2 * POINTS)])


def of_tf(weights=False):
    return tf.data.Dataset.from_tensor_slices((IMAGES, LANDMARKS, *([WEIGHTS] if weights else [])))


DATASETS = {
    "pictures": lambda: IMAGES,
    "arrays": lambda: (IMAGES, LANDMARKS, WEIGHTS),
    "tf.data": lambda: of_tf().batch(4),
    "unbatched tf.data": of_tf,
    "PyDataset": Batches,
    "list": lambda: [(IMAGES[:7], LANDMARKS[:7]), (IMAGES[7:], LANDMARKS[7:])],
}


@pytest.mark.parametrize("kind", DATASETS)
def test_a_teacher_predicts_each_picture_once_and_in_order(kind, tmp_path):
    teacher = Counting()
    answers = kd_loss.record(teacher, DATASETS[kind](), tmp_path, batch_size=4)
    assert calls_after(1, teacher) == FACES
    np.testing.assert_allclose(answers.landmarks, expected()[None], atol=1e-6)
    assert isinstance(answers.landmarks, np.memmap)
    again = kd_loss.record(teacher, DATASETS[kind](), tmp_path, batch_size=3)
    assert calls_after(2, teacher) == FACES
    np.testing.assert_array_equal(again.landmarks, answers.landmarks)
    # the same pictures in another kind of dataset are the same record
    kd_loss.record(teacher, IMAGES.astype(np.float32), tmp_path)
    assert calls_after(3, teacher) == FACES


def test_what_lies_on_disk(tmp_path):
    kd_loss.record(Counting(), IMAGES, tmp_path, taps=["embedding"])
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    manifest = json.loads((place / "manifest.json").read_text())
    assert set(manifest["sha256"]) == {"landmarks.npy", "embedding.npy", "picture-checksums.npy"}
    assert manifest["key"]["taps"] == ["embedding", "landmarks"]
    assert manifest["key"]["faces"] == FACES


def test_other_pictures_order_taps_and_damaged_files_are_recorded_again(tmp_path):
    teacher = Counting()
    for number, (images, taps) in enumerate(
        [(IMAGES, ()), (IMAGES[::-1], ()), (IMAGES[:9], ()), (IMAGES, ("embedding",))], 1
    ):
        kd_loss.record(teacher, images, tmp_path, taps=taps)
        assert calls_after(number, teacher) == (FACES, 2 * FACES, 3 * FACES - 1, 4 * FACES - 1)[number - 1]
    for file in tmp_path.glob("*/landmarks.npy"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    answers = kd_loss.record(teacher, IMAGES, tmp_path, taps=())
    assert calls_after(5, teacher) == 5 * FACES - 1
    np.testing.assert_allclose(answers.landmarks, expected()[None], atol=1e-6)


def test_a_keras_model_is_known_by_its_weights_and_its_architecture(tmp_path):
    first, same, other = (teacher_checksum(as_teacher(net(seed), size=SIZE)) for seed in (0, 0, 1))
    assert first == same != other
    model = net()
    answers = kd_loss.record(model, IMAGES, tmp_path, coordinates="unit", batch_size=4)
    direct = keras.ops.convert_to_numpy(model(IMAGES.astype(np.float32))).reshape(1, FACES, POINTS, 2) - 0.5
    np.testing.assert_allclose(answers.landmarks, direct, atol=1e-5)
    model.compile("adam", "mse")  # training settings do not count
    kd_loss.record(model, IMAGES, tmp_path, coordinates="unit")
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    model.layers[-1].bias.assign_add([1.0] * 2 * POINTS)
    moved = kd_loss.record(model, IMAGES, tmp_path, coordinates="unit")
    np.testing.assert_allclose(moved.landmarks, direct + 1, atol=1e-5)


def test_a_function_is_known_by_its_code_and_what_it_is_bound_to():
    def bound(value):
        def teacher(images):
            return np.full((len(images), POINTS, 2), value)

        return teacher

    def another(images):
        return np.zeros((len(images), POINTS, 2))

    sums = [teacher_checksum(as_teacher(f, size=SIZE)) for f in (bound(0.1), bound(0.1), bound(0.2), another)]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3


def test_a_file_is_known_by_its_bytes(tmp_path):
    file = tmp_path / "teacher.py"
    text = "import numpy as np\ndef points(images):\n    return np.full((len(images), 3, 2), {})\n"
    for value in (0.1, 0.2):
        file.write_text(text.format(value))
        answers = kd_loss.record(f"{file}:points", IMAGES, tmp_path / "answers")
        np.testing.assert_allclose(answers.landmarks, value, atol=1e-6)


def test_an_interrupted_record_leaves_nothing(tmp_path):
    def fails(images):
        if images.any():
            raise KeyboardInterrupt
        return np.zeros((len(images), POINTS, 2))

    with pytest.raises(KeyboardInterrupt):
        kd_loss.record(fails, IMAGES, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


class Shuffling:
    def __iter__(self):
        self.turn = getattr(self, "turn", 0) + 1
        yield np.roll(IMAGES, self.turn, axis=0), LANDMARKS


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (lambda: iter([(IMAGES, LANDMARKS)]), {}, "a generator can be iterated only once"),
        (lambda: of_tf().batch(4).repeat(), {}, "the dataset is infinite"),
        (lambda: IMAGES[:, :8], {}, r"the images of a batch are \(10, 8, 16, 3\), not \(B, S, S, 3\)"),
        (lambda: [], {}, "the dataset has no images"),
        (lambda: 7, {}, "a dataset is arrays, tf.data, a PyDataset or batches, not int"),
        (Shuffling, {}, "other images, or another order"),
        (lambda: IMAGES, {"taps": ["P4"]}, "returns landmarks, embedding, not 'P4'"),
        (lambda: IMAGES, {"limit_gb": 1e-9}, "limit_gb is 1e-09; raise it"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(dataset, options, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        kd_loss.record(Counting(), dataset(), tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return kd_loss.record(Counting(), IMAGES, tmp_path_factory.mktemp("answers"), taps=["embedding"])


WITH_TARGETS = {
    "arrays": lambda weights: (IMAGES, LANDMARKS, *([WEIGHTS] if weights else [])),
    "tf.data": lambda weights: of_tf(weights).batch(4),
    "unbatched tf.data": lambda weights: of_tf(weights),
    "PyDataset": lambda weights: Batches(4, weights),
    "list": lambda weights: [(IMAGES, LANDMARKS, *([WEIGHTS] if weights else []))],
}


def rows_of(dataset):
    """All parts of a dataset, in one piece."""
    if isinstance(dataset, tuple):
        return dataset
    if isinstance(dataset, keras.utils.PyDataset):
        batches = [dataset[index] for index in range(len(dataset))]
    else:
        batches = list(dataset)
    arrays = [keras.tree.map_structure(np.asarray, batch) for batch in batches]
    join = np.concatenate if arrays[0][0].ndim == 4 else np.stack
    return keras.tree.map_structure(lambda *parts: join(parts), *arrays)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", WITH_TARGETS)
def test_answers_travel_with_their_faces(kind, weights, answers):
    dataset = kd_loss.with_answers(WITH_TARGETS[kind](weights), {"tough": answers})
    images, targets, *more = rows_of(dataset)
    assert set(targets) == {"landmarks", "tough/landmarks", "tough/embedding"}
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(targets["landmarks"], LANDMARKS)
    np.testing.assert_allclose(targets["tough/landmarks"], expected(), atol=1e-6)
    assert len(more) == weights
    if weights:
        np.testing.assert_array_equal(more[0], WEIGHTS)


def test_answers_follow_a_shuffle_that_comes_after(answers):
    dataset = kd_loss.with_answers(of_tf(), {"tough": answers}).shuffle(FACES, seed=1).batch(4)
    images, targets = rows_of(dataset)
    assert not np.array_equal(images, IMAGES)
    np.testing.assert_allclose(targets["tough/landmarks"], expected(images), atol=1e-6)


@pytest.mark.parametrize("kind", ["arrays", "tf.data", "PyDataset"])
def test_a_student_learns_from_recorded_answers(kind, answers):
    """The loss is the same as with the live teacher, by every kind of dataset."""
    losses = []
    for teacher in (answers, Counting()):
        dataset = WITH_TARGETS[kind](True)
        if teacher is answers:
            dataset = kd_loss.with_answers(dataset, {"tough": answers})
        student = net()
        distiller = kd_loss.Distiller(student=student, teachers={"tough": teacher}, methods=[kd_loss.methods.PlainKD()])
        distiller.compile("sgd")
        losses.append(distiller.fit(dataset, batch_size=None if kind != "arrays" else 4, shuffle=False, verbose=0))
    recorded, live = (history.history for history in losses)
    assert recorded.keys() == live.keys()
    for name, values in recorded.items():
        assert values == pytest.approx(live[name], rel=1e-4)


def shuffled():
    dataset = Batches()
    dataset.order = dataset.order[::-1]
    return dataset


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: (IMAGES[:9], LANDMARKS[:9]), "the dataset has 9 faces, the answers cover 10"),
        (lambda: (np.r_[IMAGES, IMAGES], LANDMARKS), "the dataset has more faces, the answers cover 10"),
        (lambda: (IMAGES[::-1], LANDMARKS), "from face 0 on differ from those that the tough teacher was recorded on"),
        (shuffled, "from face 0 on differ from those"),
        (lambda: Batches(40), r"the dataset has 1 batches of 10|from face"),
        (lambda: of_tf().take(4).batch(4), "the dataset has 1 batches of 4 faces, the answers cover 10"),
        (lambda: of_tf().shuffle(10, seed=3).batch(4), "attach the answers before shuffling"),
        (lambda: of_tf().repeat().batch(4), "is infinite"),
        (lambda: tf.data.Dataset.from_tensor_slices(IMAGES).batch(4), r"a batch is \(images, landmarks\)"),
        (lambda: IMAGES, r"a batch is \(images, landmarks\)"),
        (lambda: (IMAGES, {"points": LANDMARKS}), "landmarks are missing"),
    ],
)
def test_a_dataset_that_does_not_fit_is_one_line(dataset, message, answers):
    if message.startswith("the dataset has 1 batches of 10"):
        assert len(kd_loss.with_answers(dataset(), {"tough": answers})) == 1  # one short batch is whole
        return
    with pytest.raises(UserError, match=message) as caught:
        kd_loss.with_answers(dataset(), {"tough": answers})
    assert "\n" not in str(caught.value)


def test_a_dataset_that_shuffles_later_is_refused_in_training(answers):
    def batches():
        for start in (0, 6, 3):  # the second batch is not the recorded one
            yield IMAGES[start : start + 3], LANDMARKS[start : start + 3]

    scheme = (tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8), tf.TensorSpec((None, POINTS, 2), tf.float32))
    dataset = kd_loss.with_answers(tf.data.Dataset.from_generator(batches, output_signature=scheme), {"tough": answers})
    distiller = kd_loss.Distiller(student=net(), teachers={"tough": answers}, methods=[kd_loss.methods.PlainKD()])
    distiller.compile("sgd")
    with pytest.raises(UserError, match="the images from face 3 on differ from those") as caught:
        distiller.fit(dataset, verbose=0)
    assert "\n" not in str(caught.value)


def test_recorded_teachers_need_their_answers_in_the_batches(answers):
    distiller = kd_loss.Distiller(student=net(), teachers={"tough": answers}, methods=[kd_loss.methods.PlainKD()])
    distiller.compile("sgd")
    with pytest.raises(UserError, match=r"make the dataset by kd_loss.with_answers"):
        distiller.fit(IMAGES, LANDMARKS, verbose=0)
