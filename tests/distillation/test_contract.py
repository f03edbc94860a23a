"""What holds for every registered method."""

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss.distillation import METHODS, get_method
from kd_loss.errors import UserError

B, K = 3, 5
SHAPES = {"landmarks": (B, K, 2), "embedding": (B, 16), "P5": (B, 2, 2, 16), "P4": (B, 4, 4, 8)}


def taps(names, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.1, SHAPES[name]).astype("float32") for name in names}


def arguments(method, seed=0):
    truth = np.random.default_rng(seed).normal(0, 0.2, (B, K, 2)).astype("float32")
    student = taps(method.student_taps, seed + 1)
    teachers = {role: taps(method.teacher_taps, seed + 2 + i) for i, role in enumerate(method.teacher_roles)}
    return truth, student, teachers


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return get_method(request.param)


def test_one_finite_value_per_sample(method):
    values = ops.convert_to_numpy(method(*arguments(method)))
    assert values.shape == (B,)
    assert np.isfinite(values).all()


def test_the_value_is_the_weighted_sum_of_the_named_terms(method):
    terms = method.terms(*arguments(method))
    assert tuple(terms) == tuple(method.term_names)
    total = sum(method.weights_of_terms.get(k, 1.0) * ops.convert_to_numpy(v) for k, v in terms.items())
    np.testing.assert_allclose(ops.convert_to_numpy(method(*arguments(method))), total, rtol=1e-5)


def test_a_sample_does_not_depend_on_the_others(method):
    truth, student, teachers = arguments(method)
    one = method(
        truth[:1],
        {k: v[:1] for k, v in student.items()},
        {r: {k: v[:1] for k, v in t.items()} for r, t in teachers.items()},
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(one)[0], ops.convert_to_numpy(method(truth, student, teachers))[0], rtol=1e-5
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are taken with TensorFlow")
def test_gradients_reach_every_student_tap(method):
    import tensorflow as tf

    truth, student, teachers = arguments(method)
    watched = {k: tf.Variable(v) for k, v in student.items()}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(method(truth, {k: v.value() for k, v in watched.items()}, teachers))
    for gradient in tape.gradient(loss, list(watched.values())):
        assert gradient is not None
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_float32_under_mixed_precision(method):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        again = get_method(method.name_on_command_line)
        truth, student, teachers = arguments(again)
        half = {k: v.astype("float16") for k, v in student.items()}
        values = again(truth, half, teachers)
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_saving_and_loading_the_configuration(method):
    again = type(method).from_config(method.get_config())
    assert again.get_config() == method.get_config()
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(*arguments(method))), ops.convert_to_numpy(method(*arguments(method)))
    )


def test_a_docstring_with_a_formula_and_shapes(method):
    text = type(method).__doc__ or ""
    assert "`" in text
    assert "(B, K, 2)" in text


def test_names_are_checked():
    with pytest.raises(UserError, match="unknown method 'kdloss': did you mean 'kd_loss'"):
        get_method("kdloss")
    with pytest.raises(UserError, match="unknown parameter of kd_loss 'varient': did you mean 'variant'"):
        get_method("kd_loss", {"varient": "code"})
