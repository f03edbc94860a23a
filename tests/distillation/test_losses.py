"""The losses as functions: what the methods return, in either shape, on every backend, in one's own loop."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from kd_loss import losses, methods
from kd_loss.system.errors import UserError

RNG = np.random.default_rng(0)
B, K = 4, 5
TRUTH, STUDENT, TOUGH, TOLERANT = (RNG.normal(0, scale, (B, K, 2)).astype("float32") for scale in (0.2, 0.2, 0.1, 0.15))
EMBEDDING, TEACHER_EMBEDDING = RNG.normal(0, 1, (B, 6)).astype("float32"), RNG.normal(0, 1, (B, 3)).astype("float32")
MAPS, THEIR_MAPS = RNG.normal(0, 1, (B, 4, 4, K)).astype("float32"), RNG.normal(0, 1, (B, 8, 8, K)).astype("float32")
LOG_SIGMA = np.array([-2.0, -1.0, 0.5, 1.0], "float32")


def numpy(x):
    return ops.convert_to_numpy(x)


def method_value(method, **taps):
    """The method's objective about the student above and the tough teacher."""
    student = {"landmarks": STUDENT, "embedding": EMBEDDING, "heatmaps": MAPS, **taps}
    teachers = {"tough": {"landmarks": TOUGH, "embedding": TEACHER_EMBEDDING, "heatmaps": THEIR_MAPS}}
    if isinstance(method, methods.KDLoss):
        teachers["tolerant"] = {"landmarks": TOLERANT}
    return numpy(method(TRUTH, student, teachers))


def attentive():
    method = methods.AttentiveImitation(alpha=0.25)
    method.etas = {"tough": 0.03}
    return method


@pytest.mark.parametrize(
    ("method", "value"),
    [
        (methods.NoDistillation, lambda: losses.mean_absolute_error(TRUTH, STUDENT)),
        (lambda: methods.NoDistillation(loss="mse"), lambda: losses.mean_squared_error(TRUTH, STUDENT)),
        (methods.KDLoss, lambda: losses.kd_loss(TRUTH, STUDENT, TOUGH, TOLERANT)),
        (
            lambda: methods.KDLoss(variant="code", main=2.0, tough=0.5, tolerant=3.0),
            lambda: losses.kd_loss(TRUTH, STUDENT, TOUGH, TOLERANT, "code", 2.0, 0.5, 3.0),
        ),
        (lambda: methods.PlainKD(main=0.5, imitation=2.0), lambda: losses.plain_kd(TRUTH, STUDENT, TOUGH, 0.5, 2.0)),
        (methods.Minimum, lambda: losses.minimum(TRUTH, STUDENT, TOUGH)),
        (lambda: methods.Imitation(alpha=0.25), lambda: losses.imitation(TRUTH, STUDENT, TOUGH, 0.25)),
        (lambda: methods.TeacherBound(alpha=0.25), lambda: losses.teacher_bound(TRUTH, STUDENT, TOUGH, 0.25)),
        (attentive, lambda: losses.attentive_imitation(TRUTH, STUDENT, TOUGH, eta=0.03, alpha=0.25)),
        (methods.PseudoLabels, lambda: losses.pseudo_labels(TRUTH, STUDENT, TOUGH)),
        (methods.KeypointDistillation, lambda: losses.keypoint_l1(STUDENT, TOUGH)),
        (
            methods.HeatmapDistillation,
            lambda: losses.mean_absolute_error(TRUTH, STUDENT) + 0.3 * losses.heatmap_kl(MAPS, THEIR_MAPS),
        ),
        (
            lambda: methods.HeatmapDistillation(sigma=0.1, temperature=2.0),
            lambda: (
                losses.mean_absolute_error(TRUTH, STUDENT) + 1.2 * losses.gaussian_kl(MAPS, TOUGH, 0.1, temperature=2)
            ),
        ),
        (
            methods.HeatmapLikelihood,
            lambda: losses.mean_absolute_error(TRUTH, STUDENT) + 0.003 * losses.likelihood(TRUTH, MAPS),
        ),
        (
            methods.RKD,
            lambda: (
                losses.mean_absolute_error(TRUTH, STUDENT)
                + 0.025 * losses.rkd_distance(EMBEDDING, TEACHER_EMBEDDING)
                + 0.05 * losses.rkd_angle(EMBEDDING, TEACHER_EMBEDDING)
            ),
        ),
        (methods.PKT, lambda: losses.mean_absolute_error(TRUTH, STUDENT) + losses.pkt(EMBEDDING, TEACHER_EMBEDDING)),
    ],
)
def test_a_methods_objective_is_that_of_its_functions(method, value):
    found = numpy(value())
    assert (found.shape, found.dtype) == ((B,), np.float32)
    np.testing.assert_allclose(method_value(method()), found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "value",
    [
        losses.mean_absolute_error,
        losses.mean_squared_error,
        lambda y, s: losses.kd_loss(y, s, TOUGH.reshape(B, -1), TOLERANT),
        lambda y, s: losses.plain_kd(y, s, TOUGH),
        lambda y, s: losses.teacher_bound(y, s, TOUGH),
        lambda y, s: losses.attentive_imitation(y, s, TOUGH, 0.03),
        lambda y, s: losses.laplace_imitation(y, s, TOUGH, LOG_SIGMA),
        lambda y, s: losses.pseudo_labels(y, s, TOUGH.reshape(B, -1), limit=0.1),
        lambda y, s: losses.auxiliary_error(y, s, TOUGH),
        lambda y, s: losses.likelihood(y, MAPS) + losses.gaussian_kl(MAPS, s, 0.1),
        lambda y, s: losses.keypoint_l1(s, y),
    ],
)
def test_a_row_of_numbers_is_as_good_as_points(value):
    """(B, 2K) for (B, K, 2), of double precision too; and the two mixed."""
    expected = numpy(value(TRUTH, STUDENT))
    flat = TRUTH.reshape(B, -1).astype("float64"), STUDENT.reshape(B, -1)
    np.testing.assert_allclose(numpy(value(*flat)), expected, rtol=1e-6)
    np.testing.assert_allclose(numpy(value(flat[0], STUDENT)), expected, rtol=1e-6)


def test_landmarks_of_two_schemes_are_one_line():
    with pytest.raises(UserError, match="landmarks of unequal size: 6 and 10 numbers a face"):
        losses.plain_kd(TRUTH, STUDENT, TOUGH[:, :3])


def test_the_laplace_likelihood_by_hand():
    """A student that is 0.1 from its teacher everywhere and says σ = 0.1: 1 + log 0.1; log σ is kept in −6…6."""
    near = TOUGH + np.float32(0.1)
    sigma = np.log(np.full(B, 0.1, "float32"))
    np.testing.assert_allclose(numpy(losses.laplace_nll(near, TOUGH, sigma)), 1 + np.log(0.1), rtol=1e-4)
    blended = losses.laplace_imitation(TRUTH, near, TOUGH, sigma, alpha=0.25, scale=0.5)
    expected = 0.25 * np.square(near - TRUTH).mean((1, 2)) + 0.75 * 0.5 * (1 + np.log(0.1))
    np.testing.assert_allclose(numpy(blended), expected, rtol=1e-4)
    far = losses.laplace_nll(TOUGH, TOUGH, np.full(B, -50.0, "float32"))
    np.testing.assert_allclose(numpy(far), -6, atol=1e-3)


def test_features_of_unequal_size_are_brought_to_one():
    """The student's map is brought to the teacher's size for a hint, the teacher's to the student's for attention."""
    small, large = np.full((1, 2, 2, 3), 2.0, "float32"), np.full((1, 4, 4, 3), 4.0, "float32")
    assert numpy(losses.hint(small, large)) == pytest.approx([0.25], rel=1e-3)
    assert numpy(losses.hint(large, small)) == pytest.approx([1.0], rel=1e-3)
    assert numpy(losses.attention_transfer(small, large)) == pytest.approx([0], abs=1e-6)
    trusted = losses.attentive_hint([[0.0, 0.0]], [[0.1, 0.1]], small, large, eta=0.02)
    assert numpy(trusted) == pytest.approx([0.5 * 0.25], rel=1e-3)


def test_a_teachers_head_on_the_students_features():
    kernel, bias = RNG.normal(0, 1, (6, 2 * K)).astype("float32"), RNG.normal(0, 1, 2 * K).astype("float32")
    points = (EMBEDDING @ kernel + bias).reshape(B, K, 2)
    np.testing.assert_allclose(numpy(losses.srrl(EMBEDDING, points, kernel, bias)), 0, atol=1e-10)
    np.testing.assert_allclose(numpy(losses.srrl(EMBEDDING, points + 0.5, kernel, bias)), 0.25, rtol=1e-4)


def slope(value, y_pred):
    """The gradient of the sum of a function's values by the student's landmarks, on any backend."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(lambda points: ops.sum(value(points))))(y_pred))
    if keras.backend.backend() == "torch":
        points = ops.convert_to_tensor(y_pred).requires_grad_()
        ops.sum(value(points)).backward()
        return numpy(points.grad)
    import tensorflow as tf

    points = tf.Variable(y_pred)

    @tf.function
    def compiled():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(value(points.value()))
        return tape.gradient(total, points)

    return compiled().numpy()


def test_slopes_by_hand():
    """In a compiled step. Per coordinate |S − y| has ±1/2K, and KD-Loss between b and t: 2.5 + 0.5 + 0.5."""
    truth, teacher = np.zeros((1, 2), "float32"), np.full((1, 2), 0.2, "float32")
    student = np.array([[0.1, -0.1]], "float32")
    sign = np.array([[0.5, -0.5]])
    np.testing.assert_allclose(slope(lambda s: losses.mean_absolute_error(truth, s), student), sign)
    found = slope(lambda s: losses.kd_loss(truth, s, teacher, teacher), student)
    np.testing.assert_allclose(found, 3.5 * sign, rtol=1e-5)
    found = slope(lambda s: losses.teacher_bound(truth, s, teacher, alpha=0.25), student)  # the student is better
    np.testing.assert_allclose(found, 0.25 * student, rtol=1e-5)


@pytest.mark.parametrize("name", losses.__all__)
def test_every_function_documents_its_arguments_and_result(name):
    text = inspect.getdoc(getattr(losses, name)) or ""
    assert text.startswith("`")
    assert "(B,)" in text
    assert all(section in text for section in ("Args:", "Returns:", ">>> "))
    for parameter in inspect.signature(getattr(losses, name)).parameters:
        assert parameter in text


def test_every_method_of_the_package_is_gathered():
    own = {cls for cls in methods.METHODS.values() if cls.__module__.startswith("kd_loss.distillation.")}
    gathered = {getattr(methods, name) for name in methods.__all__ if isinstance(getattr(methods, name), type)}
    assert own == gathered - {methods.DistillationMethod, methods.TeacherMean}
