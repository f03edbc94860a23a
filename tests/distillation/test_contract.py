"""What holds for every registered method, on taps of real (tiny) networks."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss.distillation import METHODS, get_method
from kd_loss.distillation.base import parameters_of
from kd_loss.networks import Card, build_network
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from kd_loss.training.teachers.teacher import LiveTeacher

B = 4
SPEC = LandmarkScheme("five", 5, normalisers={"eyes": ((0,), (1,))})
CARD = Card("tiny", 1.0, "five", SPEC.to_dict(), 32, "student", 0.15)
IMAGES = np.random.default_rng(0).integers(0, 256, (B, 32, 32, 3)).astype("float32")
TRUTH = np.random.default_rng(1).normal(0, 0.2, (B, 5, 2)).astype("float32")
Y_TRUE = ops.convert_to_tensor(TRUTH)
TAPS = ("landmarks", "embedding", "P2", "P3", "P4")


def student_and_teachers(**changes):
    """A student, and two teachers of another width and input size."""
    card = dataclasses.replace(CARD, **changes)
    student, wide = build_network(card), dataclasses.replace(card, alpha=0.5, size=48)
    taps = (*TAPS, "heatmaps") if card.head == "heatmap" else TAPS
    return student, {
        role: LiveTeacher(build_network(wide, seed=seed), taps) for seed, role in enumerate(("tough", "tolerant"), 1)
    }


@pytest.fixture(scope="module")
def pooled():
    return student_and_teachers()


@pytest.fixture(scope="module")
def with_heatmaps():
    return student_and_teachers(head="heatmap", cut="P4")


@pytest.fixture(scope="module")
def networks(pooled):
    return pooled


def networks_for(name, pooled, with_heatmaps):
    return with_heatmaps if "heatmaps" in METHODS[name].student_taps else pooled


def attached(name, networks, **parameters):
    """A method, attached to the teachers that it takes, and those teachers."""
    student, teachers = networks
    method = get_method(name, parameters)
    chosen = {role: teachers[role] for role in method.teacher_roles}
    for teacher in chosen.values():
        teacher.training_errors = np.array([0.01, 0.02, 0.11])
    keras.utils.set_random_seed(0)
    method.attach(student, chosen)
    return method, chosen


def taps_of(method, chosen, networks):
    student = networks[0].tap_model(method.student_taps)(IMAGES)
    return dict(student), {role: teacher(IMAGES) for role, teacher in chosen.items()}


@pytest.fixture(params=sorted(METHODS))
def case(request, pooled, with_heatmaps):
    """Method, student's taps, teachers' taps."""
    networks = networks_for(request.param, pooled, with_heatmaps)
    method, chosen = attached(request.param, networks)
    return method, *taps_of(method, chosen, networks)


def numpy(x):
    return ops.convert_to_numpy(x)


def test_one_finite_value_per_sample(case):
    method, student, teachers = case
    values = numpy(method(Y_TRUE, student, teachers))
    assert values.shape == (B,)
    assert np.isfinite(values).all()


def test_the_value_is_the_weighted_sum_of_the_named_terms(case):
    method, student, teachers = case
    terms = method.terms(Y_TRUE, student, teachers)
    assert tuple(terms) == tuple(method.term_names)
    assert all(tuple(value.shape) == (B,) for value in terms.values())
    total = sum(method.weights_of_terms.get(k, 1.0) * numpy(v) for k, v in terms.items())
    np.testing.assert_allclose(numpy(method(Y_TRUE, student, teachers)), total, rtol=1e-5, atol=1e-7)


def test_a_sample_depends_on_the_others_only_where_the_method_declares_it(case):
    method, student, teachers = case
    if method.name_on_command_line == "auxiliary":
        pytest.skip("its head normalises over the batch, as every network does in training")
    if "embedding" in student:  # those of networks that know nothing yet are nearly equal
        student["embedding"] = np.random.default_rng(2).normal(0, 1, student["embedding"].shape).astype("float32")
    first = {k: v[:2] for k, v in student.items()}
    theirs = {r: {k: v[:2] for k, v in t.items()} for r, t in teachers.items()}
    alone, among = numpy(method(Y_TRUE[:2], first, theirs)), numpy(method(Y_TRUE, student, teachers))[:2]
    assert np.allclose(alone, among, rtol=1e-4, atol=1e-6) != method.relational


def gradients(method, student, teachers):
    """Of the mean value by every tap of the student and every connector, under any backend."""
    if keras.backend.backend() == "jax":
        import jax

        fixed = [v.value for v in method.non_trainable_variables]

        def loss(taps, connectors):
            return ops.mean(method.stateless_call(connectors, fixed, Y_TRUE, taps, teachers)[0])

        found = jax.grad(loss, argnums=(0, 1))(dict(student), [v.value for v in method.trainable_variables])
        return [*found[0].values(), *found[1]]
    if keras.backend.backend() == "torch":
        watched = {k: ops.convert_to_tensor(numpy(v)).requires_grad_() for k, v in student.items()}
        own = [v.value for v in method.trainable_variables]
        for value in own:
            value.grad = None
        ops.mean(method(TRUTH, watched, teachers)).backward()
        return [None if v.grad is None else numpy(v.grad) for v in [*watched.values(), *own]]
    import tensorflow as tf

    watched = {k: tf.Variable(v) for k, v in student.items()}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(method(Y_TRUE, {k: v.value() for k, v in watched.items()}, teachers))
    return tape.gradient(loss, [*watched.values(), *(v.value for v in method.trainable_variables)])


def test_gradients_reach_student_and_connectors(case):
    method, student, teachers = case
    found = gradients(method, student, teachers)
    assert len(found) == len(student) + len(method.trainable_variables)
    for gradient in found:
        assert gradient is not None
        assert np.isfinite(gradient).all()
    assert any(np.abs(gradient).max() > 0 for gradient in found)


def test_connectors_are_trained_with_the_student_and_teachers_are_not(case, pooled, with_heatmaps):
    method, _, teachers = case
    networks = networks_for(method.name_on_command_line, pooled, with_heatmaps)
    distiller = Distiller(
        student=networks[0], methods={method: 1.0}, teachers={r: networks[1][r] for r in teachers}, scheme=SPEC
    )
    own = len(networks[0].model.trainable_variables) + len(method.trainable_variables)
    assert len(distiller.trainable_variables) == own
    assert distiller.objective.count("·") == len(method.term_names)


def test_float32_under_mixed_precision(case):
    method, student, teachers = case
    half = {k: ops.cast(v, "float16") for k, v in student.items()}
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert get_method(method.name_on_command_line).compute_dtype == "float32"
        values = method(Y_TRUE, half, teachers)
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_saving_and_loading_the_configuration(case):
    """Every parameter is found again, at values that are not the defaults, by Keras's own saving."""
    kind = type(case[0])
    other = {float: 0.625, bool: True, str: None}
    changed = {"variant": "code", "loss": "L2" if case[0].name_on_command_line == "keypoints" else "mse", "tap": "P3"}
    changed |= {"percentile": 75.0, "of": "scores"}
    parameters = {key: changed.get(key, other[of]) for key, (of, _) in parameters_of(kind).items()}
    method = kind(**parameters)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(method))
    assert type(again) is kind
    assert {key: again.get_config()[key] for key in parameters} == parameters
    assert again.weights_of_terms == method.weights_of_terms
    assert again.student_taps == method.student_taps


def test_a_docstring_with_a_formula_and_shapes(case):
    text = type(case[0]).__doc__ or ""
    assert "`" in text
    assert "(B, K, 2)" in text
    assert "result (B,)" in text


def test_a_method_for_one_teacher_takes_the_weighted_mean_over_several(networks):
    student, teachers = networks
    method = get_method("kd")
    teachers["tolerant"].weight = 0.5
    try:
        method.attach(student, teachers)
        mine = dict(student.tap_model(("landmarks",))(IMAGES))
        theirs = {role: teacher(IMAGES) for role, teacher in teachers.items()}
        errors = [np.abs(numpy(mine["landmarks"]) - numpy(theirs[r]["landmarks"])).mean((1, 2)) for r in theirs]
        np.testing.assert_allclose(
            numpy(method.terms(Y_TRUE, mine, theirs)["imitation"]), (errors[0] + 0.5 * errors[1]) / 1.5, rtol=1e-4
        )
    finally:
        teachers["tolerant"].weight = 1.0


def test_names_are_checked():
    with pytest.raises(UserError, match="unknown method 'kdloss': did you mean 'kd_loss'"):
        get_method("kdloss")
    with pytest.raises(UserError, match="unknown parameter of kd_loss 'varient': did you mean 'variant'"):
        get_method("kd_loss", {"varient": "code"})
    for wrong in ("varient", "Variant"):
        with pytest.raises(UserError, match=f"unknown parameter of kd_loss '{wrong}': did you mean 'variant'"):
            METHODS["kd_loss"](**{wrong: "code"})


@pytest.mark.parametrize("value", ["abc", None, [1], float("nan"), True])
def test_values_are_checked(value):
    with pytest.raises(UserError, match=r"kd_loss.main = .* is not a finite number"):
        get_method("kd_loss", {"main": value})
    with pytest.raises(UserError, match=r"kd_loss.main = .* is not a finite number"):
        METHODS["kd_loss"](main=value)
    with pytest.raises(UserError, match=r"kd_loss.variant = 1 is not a name"):
        get_method("kd_loss", {"variant": 1})
    assert get_method("kd_loss", {"Main": 3}).main == 3
