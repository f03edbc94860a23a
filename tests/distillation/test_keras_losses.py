"""Methods as losses of Keras's own Distiller, and the page about the two."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from kd_loss import methods
from kd_loss.methods import as_keras_loss
from kd_loss.system.errors import UserError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 1, (4, 8, 8, 3)).astype("float32")
TRUTH = RNG.uniform(-0.5, 0.5, (4, 6)).astype("float32")


def network(width, seed):
    """Pictures (B, 8, 8, 3) -> three points, as (B, 6)."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(width, 3, strides=2, name="maps")(inputs)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, layers.Dense(6, name="points")(x))


def answers(model, *names):
    outputs = {name: model.get_layer(name).output for name in names}
    found = keras.Model(model.inputs, outputs)([IMAGES])
    return [ops.convert_to_numpy(found[name]) for name in names]


def step(student, teacher, *distillation_losses):
    """One step on the faces above; what it logs."""
    distiller = keras.distillation.Distiller(
        teacher=teacher, student=student, distillation_losses=list(distillation_losses)
    )
    distiller.compile(keras.optimizers.SGD(0.1), loss=keras.losses.MeanAbsoluteError())
    return distiller.train_on_batch(IMAGES, TRUTH, return_dict=True)


def test_one_step_by_hand():
    """½·|S − y| + ½·(0.5·|S − T| + 0.05·mean (A_T − r(A_S))² / mean A_T²), and connector and student learn."""
    student, teacher = network(4, 0), network(5, 1)
    points, maps = answers(student, "points", "maps")
    theirs, their_maps = answers(teacher, "points", "maps")
    imitation = as_keras_loss(methods.PlainKD(imitation=0.5))
    hint = as_keras_loss("fitnet", student_layer="maps", teacher_layer="maps")
    connectors = []
    attach = hint.method.attach
    hint.method.attach = lambda *given: (attach(*given), connectors.append(hint.method.connectors["teacher"]))
    before = [np.copy(w) for w in student.get_weights()]
    distiller = keras.distillation.Distiller(teacher, student, [imitation, hint])
    [connector] = connectors
    kernel, bias = (np.copy(w) for w in connector.get_weights())
    assert kernel.shape == (1, 1, 4, 5)
    distiller.compile(keras.optimizers.SGD(0.1), loss=keras.losses.MeanAbsoluteError())
    logs = distiller.train_on_batch(IMAGES, TRUTH, return_dict=True)
    far = np.square(their_maps - (maps @ kernel[0, 0] + bias)).mean((1, 2, 3))
    units = np.square(their_maps).mean((1, 2, 3)) + 1e-3
    expected = 0.5 * np.abs(points - theirs).mean() + 0.05 * (far / units).mean()
    assert logs["distillation_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["student_loss"] == pytest.approx(np.abs(points - TRUTH).mean(), rel=1e-4)
    assert logs["total_loss"] == pytest.approx(0.5 * np.abs(points - TRUTH).mean() + 0.5 * expected, rel=1e-4)
    assert (connector.get_weights()[0] != kernel).any()
    assert any((a != b).any() for a, b in zip(before, student.get_weights(), strict=True))
    assert len(distiller.trainable_variables) == len(student.trainable_variables) + 2


@pytest.mark.parametrize(
    ("method", "tap", "layer"),
    [("rkd", "", "embedding"), ("pkt", "", "embedding"), ("attention", "P4", "maps"), ("heatmap", "", "maps")],
)
def test_a_layer_of_each_is_the_methods_tap(method, tap, layer):
    student, teacher = network(4, 0), network(4, 1)
    loss = as_keras_loss(method, tap=tap, student_layer=layer, teacher_layer=layer)
    [mine], [theirs] = answers(student, layer), answers(teacher, layer)
    logs = step(student, teacher, loss)
    own = loss.method
    terms = own.teacher_terms("teacher", None, {loss.tap: mine}, {loss.tap: theirs})
    expected = sum(own.weights_of_terms[name] * ops.convert_to_numpy(value).mean() for name, value in terms.items())
    assert logs["distillation_loss"] == pytest.approx(expected, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("kd_loss", r"has one teacher, the method kd_loss needs 2 teachers \(tough, tolerant\)"),
        ("none", "has one teacher, the method none needs no teacher"),
        ("likelihood", "the method likelihood needs no teacher"),
        ("min", "cannot be the method min, which reads the truth"),
        ("bound", "which reads the truth"),
        ("ail", "which reads the truth"),
        ("pseudo", "which reads the truth"),
        ("srrl", r"which reads several layers at once \(landmarks, embedding\)"),
        ("pil", r"which reads several layers at once \(landmarks, embedding\)"),
        ("attention", 'a loss of keras.distillation reads one: tap="P3", tap="P4"'),
        ("kdd", "unknown method 'kdd'"),
    ],
)
def test_what_keras_has_no_room_for(method, message):
    with pytest.raises(UserError, match=message):
        as_keras_loss(method)


def test_every_method_is_taken_or_refused_in_one_line():
    taken = {"kd", "imitation", "keypoints", "fitnet", "attention", "rkd", "pkt", "heatmap"}
    for name, cls in methods.METHODS.items():
        if name in taken:
            assert as_keras_loss(name, tap="P4" if name == "attention" else "").method.name_on_command_line == name
        elif cls.__module__.startswith("kd_loss.distillation."):
            with pytest.raises(UserError, match=r"\A.*\Z"):  # no line break
                as_keras_loss(name)
    assert as_keras_loss(methods.AttentiveHint(attend=False)).tap == "embedding"


def test_layers_that_there_are_not():
    with pytest.raises(UserError, match="needs the names of both layers"):
        as_keras_loss("fitnet", student_layer="maps")
    loss = as_keras_loss("fitnet", student_layer="map", teacher_layer="maps")
    with pytest.raises(UserError, match="unknown layer of the student 'map': did you mean 'maps'"):
        step(network(4, 0), network(5, 1), loss)
    with pytest.raises(UserError, match="unknown tap of attention 'P5': valid: P3, P4"):
        as_keras_loss("attention", tap="P5")


def test_the_callers_method_stays_as_it_is_and_a_loss_is_saved_with_its_parameters():
    method = methods.Attention(transfer=0.3)
    loss = as_keras_loss(method, tap="P4", student_layer="maps", teacher_layer="maps")
    assert method.teacher_taps == ("P3", "P4")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.tap, again.student_layer_name, again.teacher_layer_name) == ("P4", "maps", "maps")
    assert again.method.transfer == 0.3
    maps = RNG.normal(0, 1, (2, 2, 3, 3, 4)).astype("float32")
    assert ops.convert_to_numpy(again.compute_loss(*maps)) == ops.convert_to_numpy(loss.compute_loss(*maps))


def test_the_page(capsys):
    """The code of docs/keras-distillation.md, from top to bottom."""
    page = (ROOT / "docs" / "keras-distillation.md").read_text(encoding="utf-8")
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, "docs/keras-distillation.md", "exec"), names)
    assert all(np.isfinite(names["history"].history["distillation_loss"]))
    assert capsys.readouterr().out.startswith("keras.distillation has one teacher, the method kd_loss needs 2")
    listed = set(re.findall(r"`(\w+)", re.search(r"`as_keras_loss` takes (.*?), by name", page, re.DOTALL)[1]))
    assert listed == {"kd", "imitation", "keypoints", "fitnet", "attention", "tap", "rkd", "pkt", "heatmap", "aht"}
