"""`Distiller` with models, data and teachers of one's own."""

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss.networks.card import Card
from kd_loss.networks.landmark_net import build_network
from kd_loss.system.errors import UserError

tf = pytest.importorskip("tensorflow")

SIZE, POINTS, FACES = 32, 3, 8
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (FACES, SIZE, SIZE, 3)).astype(np.float32)
LANDMARKS = RNG.uniform(-0.4, 0.4, (FACES, POINTS, 2)).astype(np.float32)
#: scale -> normalised landmarks in it
SCALES = {
    "normalised": lambda v: v,
    "unit": lambda v: v + 0.5,
    "signed": lambda v: 2 * v,
    "pixels": lambda v: (v + 0.5) * SIZE - 0.5,
}


def trunk():
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for power in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name=f"down{power}")(x)
    return keras.Model(inputs, x, name="trunk")


def nested(points=POINTS, seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(trunk()(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Reshape((points, 2))(keras.layers.Dense(2 * points)(x)), name="nested")


def flat(seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.layers.Rescaling(1 / 255)(inputs := keras.Input((SIZE, SIZE, 3)))
    for power in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name=f"down{power}")(x)
    return keras.Model(inputs, keras.layers.Dense(2 * POINTS)(keras.layers.GlobalAveragePooling2D()(x)), name="flat")


def sequential(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 255), trunk(), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(2 * POINTS)], name="line")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.pool, self.dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2 * POINTS)

    def call(self, images):
        return self.dense(self.pool(images / 255))


def distiller_of(student, teachers=None, methods=None, optimizer="sgd", **options):
    methods = methods or ([kd_loss.methods.PlainKD()] if teachers else [kd_loss.methods.NoDistillation()])
    distiller = kd_loss.Distiller(student=student, teachers=teachers, methods=methods, **options)
    distiller.compile(optimizer)
    return distiller


def predicted(model):
    return np.reshape(keras.ops.convert_to_numpy(model(IMAGES)), (FACES, POINTS, 2))


def losses(distiller, *data, **options):
    """The history of one step on all faces."""
    return {
        name: values[0]
        for name, values in distiller.fit(*data, batch_size=FACES, shuffle=False, verbose=0, **options).history.items()
    }


@pytest.mark.parametrize("build", [nested, flat, sequential, Subclassed])
def test_any_model_is_trained_in_place(build):
    student = build()
    distiller = distiller_of(student, {"tough": nested(seed=1)}, image_size=SIZE)
    before = predicted(student)
    answer = predicted(teacher := nested(seed=1))
    found = losses(distiller, IMAGES, LANDMARKS)
    assert found["main"] == pytest.approx(np.abs(before - LANDMARKS).mean(), rel=1e-4)
    assert found["loss"] > found["main"]
    assert np.abs(predicted(student) - before).max() > 0
    np.testing.assert_array_equal(predicted(teacher), answer)


@pytest.mark.parametrize("build", [nested, flat, sequential])
def test_taps_are_found_in_any_graph(build):
    methods = [kd_loss.methods.get_method("kd"), (kd_loss.methods.Attention(), 0.1), (kd_loss.methods.FitNet(), 0.1)]
    found = losses(distiller_of(build(), {"tough": nested(seed=1)}, methods), IMAGES, LANDMARKS)
    assert all(np.isfinite(value) for value in found.values())
    assert sum(name.startswith(("attention", "fitnet")) for name in found) >= 2


@pytest.mark.parametrize("scale", SCALES)
def test_the_loss_is_that_of_normalised_landmarks(scale):
    """Student, teacher and truth in a scale of their own: the loss by hand, in the toolkit's own."""
    to = SCALES[scale]
    student, teacher = nested(), nested(seed=1)
    back = kd_loss.Coordinates.of(scale, SIZE)
    own, answer = back.normalised(predicted(student)), back.normalised(predicted(teacher))
    found = losses(distiller_of(student, {"tough": teacher}, coordinates=scale), IMAGES, to(LANDMARKS))
    assert found["main"] == pytest.approx(np.abs(own - LANDMARKS).mean(), rel=1e-4)
    assert found["imitation"] == pytest.approx(np.abs(own - answer).mean(), rel=1e-4)


def test_flat_landmarks_are_the_same_truth():
    first, second = (losses(distiller_of(nested()), IMAGES, y) for y in (LANDMARKS, LANDMARKS.reshape(FACES, -1)))
    assert first == pytest.approx(second)


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_sample_weights_by_hand(kind):
    weights = np.arange(FACES, dtype=np.float32)
    student = nested()
    error = np.abs(predicted(student) - LANDMARKS).mean(axis=(1, 2))
    data = (IMAGES, LANDMARKS)
    options = {"sample_weight": weights}
    if kind == "tf.data":
        data, options = (tf.data.Dataset.from_tensor_slices((IMAGES, LANDMARKS, weights)).batch(FACES),), {}
    distiller = distiller_of(student)
    found = distiller.fit(*data, verbose=0, **options).history["main"][0]
    assert found == pytest.approx((error * weights).mean(), rel=1e-4)


def test_a_function_teaches():
    def teacher(images):
        assert images.dtype == np.uint8
        return np.full((len(images), POINTS, 2), 0.25)

    found = losses(distiller_of(nested(), {"tough": teacher}), IMAGES, LANDMARKS)
    assert np.isfinite(found["loss"])


def test_a_point_map_reads_another_scheme():
    teacher = kd_loss.LiveTeacher(nested(points=5), point_map=[4, 0, 2])
    assert np.isfinite(losses(distiller_of(nested(), {"tough": teacher}), IMAGES, LANDMARKS)["loss"])


def test_named_taps_win_over_those_that_are_found():
    distiller = distiller_of(
        nested(), {"tough": nested(seed=1)}, [kd_loss.methods.FitNet()], taps={"P4": "trunk/down3", "P3": "trunk/down3"}
    )
    shapes = {name: tuple(output.shape[1:]) for name, output in distiller.student.output.items()}
    assert {shape for name, shape in shapes.items() if name in ("P3", "P4")} == {(4, 4, 4)}


def test_a_validation_is_the_mean_absolute_error():
    student = nested()
    distiller = distiller_of(student, {"tough": nested(seed=1)}, optimizer=keras.optimizers.SGD(0.0))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LANDMARKS)).batch(FACES)
    history = distiller.fit(data, validation_data=data, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(np.abs(predicted(student) - LANDMARKS).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            {"student": lambda: nested(points=4), "scheme": kd_loss.LandmarkScheme("three", 3)},
            "gives 4 points, the dataset has 3",
        ),
        (
            {"teachers": lambda: {"tough": nested(points=4)}},
            "the tough teacher predicts 4 points, the student 3 landmarks: one of them",
        ),
        ({"teachers": lambda: {}}, "the method kd needs"),
        ({"taps": {"P4": "block_12_add"}}, "'P4': 'block_12_add'}: nested has no layer 'block_12_add'"),
        ({"student": Subclassed}, "give the size of its images"),
        (
            {"student": Subclassed, "image_size": SIZE, "methods": ["attention"]},
            "subclassed model, whose only tap is landmarks",
        ),
        ({"teachers": lambda: {"tough": lambda images: np.zeros(3)}}, r"returns \(3,\) for 2 images"),
        ({"teachers": lambda: {"tough": 7}}, "a teacher is a Keras model, a file, a function"),
        ({"teachers": lambda: {"tough": "nowhere.keras"}}, "nowhere.keras"),
        ({"coordinates": "unti"}, "unit"),
    ],
)
def test_objects_that_do_not_fit_are_one_line(make, message):
    options = {"student": nested, "teachers": lambda: {"tough": nested(seed=1)}, "methods": ["kd"], **make}
    options["methods"] = [kd_loss.get_method(name) for name in options["methods"]]
    with pytest.raises(UserError, match=message) as caught:
        kd_loss.Distiller(**{**options, "student": options["student"](), "teachers": options["teachers"]()})
    assert "\n" not in str(caught.value)


def of_tf(*parts):
    return tf.data.Dataset.from_tensor_slices(parts)


def unequal():
    yield IMAGES[:4], LANDMARKS[:4]
    yield IMAGES[4:, :16, :16], LANDMARKS[4:]


def unequal_tf():
    scheme = (tf.TensorSpec((None, None, None, 3), tf.float32), tf.TensorSpec((None, POINTS, 2), tf.float32))
    return tf.data.Dataset.from_generator(unequal, output_signature=scheme)


@pytest.fixture(scope="module")
def distiller():
    return distiller_of(nested(), {"tough": nested(seed=1)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            lambda: (IMAGES, LANDMARKS[:, :2]),
            r"are \(2, 2, 2\); the student gives 3 points",
        ),
        (lambda: (IMAGES[:, :16, :16], LANDMARKS), "the images of a batch are 16 px, the student takes 32 px"),
        (lambda: (IMAGES[:, :16], LANDMARKS), r"not \(B, S, S, 3\)"),
        (lambda: (IMAGES, LANDMARKS * SIZE + 200), "far outside the images, which span"),
        (lambda: (IMAGES, np.full_like(LANDMARKS, np.nan)), "give partial=True"),
        (lambda: (IMAGES, None), r"a batch is \(images, landmarks\)"),
        (lambda: (of_tf(IMAGES, LANDMARKS).batch(4).repeat(),), "is infinite: give steps_per_epoch"),
        (lambda: (of_tf(IMAGES, {"points": LANDMARKS}).batch(4),), "landmarks are missing"),
        (lambda: (of_tf(IMAGES, LANDMARKS, LANDMARKS[:, :, 0]).batch(4),), "the weights of a batch"),
        (lambda: (unequal(),), r"batch 1 has images of \(16, 16, 3\)"),
        (lambda: (unequal_tf(),), "differ in shape from those of the first"),
    ],
)
def test_data_that_do_not_fit_are_one_line(data, message, distiller):
    with pytest.raises(UserError, match=message) as caught:
        distiller.fit(*data(), verbose=0)
    assert "\n" not in str(caught.value)


def test_an_endless_dataset_with_steps(distiller):
    data = of_tf(IMAGES, LANDMARKS).batch(4).repeat()
    assert len(distiller.fit(data, steps_per_epoch=2, epochs=2, verbose=0).history["loss"]) == 2


def test_pictures_of_0_to_1_for_a_network_of_0_to_255():
    scheme = kd_loss.LandmarkScheme("three", POINTS)
    network = build_network(Card("tiny", 1.0, "three", scheme.to_dict(), SIZE, "student", 0.15))
    data = of_tf(IMAGES / 255, LANDMARKS).batch(FACES)
    with pytest.raises(UserError, match=r"the images have values in 0…1, .* give image_range=\(0, 1\)"):
        distiller_of(network).fit(data, verbose=0)
    first = losses(distiller_of(network, optimizer=keras.optimizers.SGD(0.0)), IMAGES, LANDMARKS)["main"]
    scaled = distiller_of(network, optimizer=keras.optimizers.SGD(0.0), image_range=(0, 1)).fit(data, verbose=0)
    assert scaled.history["main"][0] == pytest.approx(first, rel=1e-4)


def test_a_teacher_without_the_taps_of_a_method_is_named(caplog):
    """A function gives landmarks alone: KD-Loss uses it, attention transfer does not, and a warning says so."""
    inputs = keras.Input((64, 64, 3))
    maps = inputs
    for _ in range(4):
        maps = keras.layers.Conv2D(4, 3, 2, "same")(maps)
    network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(maps)))
    teachers = {"tough": network, "tolerant": lambda pictures: np.zeros((len(pictures), 5, 2))}
    methods = [kd_loss.methods.KDLoss(), kd_loss.methods.Attention()]
    kd_loss.Distiller(student=network, teachers=teachers, methods=methods)
    [record] = caplog.records
    assert record.getMessage() == "the method attention does not use the tolerant teacher, which lacks P3, P4"


@pytest.mark.slow
def test_visibility_is_learnt_beside_the_landmarks():
    network = build_network(
        Card("mobileNetV2", 0.1, "own", {"name": "own", "points": POINTS}, SIZE, "student", 0.15, visibility=True)
    )
    # bright faces show the first point and hide the second, of the third nothing is known
    bright = np.arange(FACES) % 2
    images = np.where(bright[:, None, None, None], 230, 20) + RNG.uniform(-5, 5, IMAGES.shape)
    labels = np.stack([bright, 1 - bright, np.full(FACES, np.nan)], axis=1).astype(np.float32)
    distiller = kd_loss.Distiller(student=network, methods=[kd_loss.methods.NoDistillation()], visibility_weight=2.0)
    assert distiller.objective.endswith("2·visibility")
    distiller.compile(keras.optimizers.Adam(0.02))
    data = tf.data.Dataset.from_tensor_slices(
        (images.astype(np.float32), {"landmarks": LANDMARKS, "visibility": labels})
    )
    history = distiller.fit(data.batch(FACES).repeat(), steps_per_epoch=15, epochs=4, verbose=0).history
    first, last = history["visibility"][0], history["visibility"][-1]
    assert last < 0.8 * first
    assert last < np.log(2) - 0.04  # better than saying one half of everything
