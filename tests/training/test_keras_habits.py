"""What a user of Keras expects of a `Distiller`: checkpoints, teachers left as they are, mistakes in one line."""

import logging
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss.networks import Card, build_network, load_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

SIZE, POINTS, FACES = 32, 3, 8
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (FACES, SIZE, SIZE, 3)).astype(np.float32)
LANDMARKS = RNG.uniform(-0.4, 0.4, (FACES, POINTS, 2)).astype(np.float32)


def network(size=SIZE, points=POINTS, seed=0):
    """A convolution, and a dense layer on all cells."""
    keras.utils.set_random_seed(seed)
    x = keras.layers.Rescaling(1 / 255)(inputs := keras.Input((size, size, 3)))
    x = keras.layers.Conv2D(2, 3, strides=8, name="maps")(x)
    return keras.Model(inputs, keras.layers.Dense(2 * points)(keras.layers.Flatten()(x)))


def distiller_of(student, teachers=None, **options):
    methods = [kd_loss.methods.PlainKD()] if teachers else [kd_loss.methods.NoDistillation()]
    distiller = kd_loss.Distiller(student=student, teachers=teachers, methods=methods, **options)
    distiller.compile("sgd")
    return distiller


def test_a_teacher_of_another_input_size_sees_resized_pictures(tmp_path):
    teacher = network(48, seed=1)
    teacher.save(tmp_path / "teacher.keras")
    larger = keras.ops.image.resize(IMAGES, (48, 48), antialias=True)
    wanted = np.reshape(teacher.predict(larger, verbose=0), (FACES, POINTS, 2))
    for given in (teacher, tmp_path / "teacher.keras"):
        answers = kd_loss.record(given, IMAGES, tmp_path / "answers")
        np.testing.assert_allclose(answers.landmarks[0], wanted, atol=1e-5)
        history = distiller_of(network(), {"teacher": given}).fit(IMAGES, LANDMARKS, batch_size=8, verbose=0)
        assert np.isfinite(history.history["loss"]).all()


def test_a_teacher_is_not_trained_and_can_be_afterwards():
    student, teacher = network(), network(seed=1)
    before = [weight.copy() for weight in teacher.get_weights()]
    distiller_of(student, {"teacher": teacher}).fit(IMAGES, LANDMARKS, batch_size=8, verbose=0)
    for now, then in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert len(teacher.trainable_weights) == len(before)


def test_model_checkpoint_saves_the_student(tmp_path):
    student = network()
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_nme", mode="min", save_best_only=True)
    distiller_of(student, {"teacher": network(seed=1)}).fit(
        IMAGES, LANDMARKS, validation_data=(IMAGES, LANDMARKS), batch_size=8, verbose=0, callbacks=[best]
    )
    again = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(again.predict(IMAGES, verbose=0), student.predict(IMAGES, verbose=0), atol=1e-6)


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"metrics": ["mae"]}])
def test_a_loss_and_metrics_are_the_methods(options):
    with pytest.raises(UserError, match=f"the methods define the loss and the metrics; remove {next(iter(options))}"):
        distiller_of(network()).compile("sgd", **options)


def test_a_missing_tap_of_a_teacher_is_named_where_it_can_be_given():
    def make(**names):
        teacher = kd_loss.LiveTeacher(network(seed=1), names=names) if names else network(seed=1)
        methods = [kd_loss.methods.FitNet()]
        kd_loss.Distiller(student=network(), taps={"P4": "maps"}, teachers={"teacher": teacher}, methods=methods)

    with pytest.raises(UserError, match=r"name a layer: LiveTeacher\(…, names={'P4': '…'}\)$"):
        make()
    make(P4="maps")


def test_a_teacher_in_another_unit_or_without_use_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        distiller_of(network(), {"teacher": lambda images: np.full((len(images), POINTS, 2), 30.0)}).fit(
            IMAGES, LANDMARKS, batch_size=8, verbose=0
        )
    assert "the teacher teacher's landmarks lie up to 30 image sides from the middle" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        kd_loss.Distiller(
            student=network(),
            teachers=dict.fromkeys(("tough", "tolerant", "tuogh"), network(seed=1)),
            methods=[kd_loss.methods.KDLoss()],
        )
    assert caplog.messages == ["no method uses the tuogh teacher"]


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        (
            {"image_range": (0, 1)},
            (IMAGES, LANDMARKS),
            r"the images have values up to 25\d.*, image_range is \(0, 1\)",
        ),
        ({}, (IMAGES, LANDMARKS[:5]), "^there are 8 images and 5 landmarks$"),
        ({}, (iter(()),), "^the dataset has no batch$"),
        ({}, ([],), "^the dataset has no batch$"),
        ({"image_range": (0, 1)}, (IMAGES[:0], LANDMARKS[:0]), "^the first batch has no image$"),
    ],
)
def test_data_that_do_not_fit_are_one_line(options, data, message):
    with pytest.raises(UserError, match=message):
        distiller_of(network(), **options).fit(*data, verbose=0)


def test_landmarks_in_another_unit_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        distiller_of(network(), coordinates="pixels").fit(IMAGES, LANDMARKS + 0.5, verbose=0)
    [message] = caplog.messages
    assert "all in one pixel of images that span -0.5…31.5: is their unit right?" in message
    caplog.clear()
    distiller_of(network(), coordinates=(-16, 16)).fit(IMAGES, LANDMARKS, verbose=0)  # near the middle
    distiller_of(network(), coordinates="pixels").fit(IMAGES, 0 * LANDMARKS, verbose=0)  # absent
    assert not caplog.messages


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_student_of_this_package_is_saved_with_its_card(tmp_path, suffix):
    card = Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15)
    student = build_network(card)
    distiller = distiller_of(student)
    path = tmp_path / f"best{suffix}"
    distiller.save(path)
    wanted = student.model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(load_network(path).model.predict(IMAGES, verbose=0), wanted, atol=1e-6)
    np.testing.assert_allclose(keras.models.load_model(path).predict(IMAGES, verbose=0), wanted, atol=1e-6)
    with pytest.raises(UserError, match=f"best{suffix} exists"):
        distiller.save(path, overwrite=False)
    with pytest.raises(UserError, match="best ends in neither .keras nor .h5"):
        distiller.save(tmp_path / "best")


def test_a_students_own_size_is_not_overruled():
    with pytest.raises(UserError, match="^the student takes images of 32 px, image_size is 64$"):
        distiller_of(network(), image_size=64)


def test_endless_validation_data_need_their_steps():
    tf = pytest.importorskip("tensorflow")
    endless = tf.data.Dataset.from_tensor_slices((IMAGES, LANDMARKS)).batch(4).repeat()
    with pytest.raises(UserError, match="validation_data is infinite: give validation_steps"):
        distiller_of(network()).fit(IMAGES, LANDMARKS, validation_data=endless, verbose=0)
    distiller_of(network()).fit(IMAGES, LANDMARKS, validation_data=endless, validation_steps=1, verbose=0)


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "distiller.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    exec(compile(code, "docs/distiller.md", "exec"), names := {})
    np.testing.assert_allclose(names["mapped"].shape, (21, 2))
    assert names["points"].shape == (16, 42)
    assert names["answers"].landmarks.shape == (1, 64, 21, 2)
