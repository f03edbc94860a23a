"""Each method against numbers that one can check by hand, or loops in NumPy."""

import numpy as np
import pytest
from keras import ops

from kd_loss.distillation import get_method
from kd_loss.distillation.features import attention_map, match_size
from kd_loss.distillation.output_distillation import attention_weight
from kd_loss.distillation.relational import angles, conditional_probabilities, huber, pairwise_distances

RNG = np.random.default_rng(0)
# one point a face: the student errs by 0.2 and 0.1 on x, the teacher by 0.1 and 0.3
TRUTH = np.zeros((2, 1, 2), np.float32)
STUDENT = {"landmarks": np.array([[[0.2, 0]], [[0.1, 0]]], np.float32)}
TEACHER = {"tough": {"landmarks": np.array([[[0.1, 0]], [[0.3, 0]]], np.float32)}}


def values(name, **parameters):
    return ops.convert_to_numpy(get_method(name, parameters)(TRUTH, STUDENT, TEACHER))


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("none", {}, [0.1, 0.05]),
        ("none", {"loss": "mse"}, [0.02, 0.005]),
        # |S − y| + |S − T|, halved by the exact y coordinate
        ("kd", {}, [0.1 + 0.05, 0.05 + 0.1]),
        ("kd", {"imitation": 0.0}, [0.1, 0.05]),
        # min(0.04, 0.01)/2, min(0.01, 0.04)/2
        ("min", {}, [0.005, 0.005]),
        ("imitation", {"alpha": 0.25}, [0.25 * 0.02 + 0.75 * 0.005, 0.25 * 0.005 + 0.75 * 0.02]),
        # the second student is better than its teacher: no imitation
        ("bound", {"alpha": 0.25}, [0.25 * 0.02 + 0.75 * 0.005, 0.25 * 0.005]),
    ],
)
def test_output_methods_by_hand(name, parameters, expected):
    np.testing.assert_allclose(values(name, **parameters), expected, rtol=1e-5)


def test_attentive_imitation_trusts_a_good_teacher_by_hand():
    method = get_method("ail", {"alpha": 0.5})
    # errors of 0.005 … 0.045 on the training set: η = 0.04; here 0.005 and 0.045
    method.etas = {"tough": 0.04}
    trust = [1 - 0.005 / 0.04, 0.0]
    expected = [0.5 * 0.02 + 0.5 * trust[0] * 0.005, 0.5 * 0.005 + 0.5 * trust[1] * 0.02]
    np.testing.assert_allclose(ops.convert_to_numpy(method(TRUTH, STUDENT, TEACHER)), expected, rtol=1e-5)


def test_eta_is_measured_over_the_training_set():
    class Fake:
        weight = 1.0
        training_errors = np.array([0.01, 0.02, 0.03, 0.41])

    method = get_method("ail")
    method.attach(None, {"tough": Fake()})
    assert method.etas == {"tough": pytest.approx(0.4)}
    robust = get_method("ail", {"percentile": 66.6})
    robust.attach(None, {"tough": Fake()})
    assert robust.etas["tough"] < 0.05


def test_the_worst_sample_gets_no_trust_rather_than_a_negative_one():
    errors = np.sqrt([[0.0, 0.0], [2.0, 2.0], [5.0, 5.0]])
    np.testing.assert_allclose(attention_weight(np.zeros((3, 2)), errors, 4.0), [1, 0.5, 0], atol=1e-6)


def test_attention_map_by_hand():
    # two pixels of two channels: sums of squares 25 and 0
    features = np.array([[[[3.0, 4.0], [0.0, 0.0]]]], np.float32)
    np.testing.assert_allclose(ops.convert_to_numpy(attention_map(features, 2.0)), [[1, 0]], atol=1e-5)


def test_halving_a_map_keeps_its_mean():
    features = RNG.normal(0, 1, (2, 8, 8, 3)).astype("float32")
    small = ops.convert_to_numpy(match_size(features, np.zeros((2, 4, 4, 5))))
    assert small.shape == (2, 4, 4, 3)
    np.testing.assert_allclose(small.mean((1, 2)), features.mean((1, 2)), atol=0.05)
    assert match_size(features, features) is features


def test_pairwise_distances_against_loops():
    x = RNG.normal(0, 1, (5, 7)).astype("float32")
    loops = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    loops /= loops[~np.eye(5, dtype=bool)].mean()
    np.testing.assert_allclose(ops.convert_to_numpy(pairwise_distances(x)), loops, rtol=1e-4, atol=1e-5)


def test_angles_against_loops():
    x = RNG.normal(0, 1, (4, 6)).astype("float32")
    got = ops.convert_to_numpy(angles(x))
    for i in range(4):
        for j in range(4):
            for k in range(4):
                a, b = x[j] - x[i], x[k] - x[i]
                length = np.linalg.norm(a) * np.linalg.norm(b)
                expected = a @ b / length if length > 0 else 0.0
                assert got[i, j, k] == pytest.approx(expected, abs=1e-4)


def test_huber_by_hand():
    np.testing.assert_allclose(ops.convert_to_numpy(huber(np.array([0.5, -2.0]))), [0.125, 1.5])


def test_conditional_probabilities_against_loops():
    x = RNG.normal(0, 1, (5, 3)).astype("float32")
    loops = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            if i != j:
                loops[i, j] = (x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) + 1) / 2
    loops /= loops.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(conditional_probabilities(x)), loops, atol=1e-5)


@pytest.mark.parametrize("name", ["rkd", "pkt"])
def test_relations_vanish_for_a_turned_and_scaled_copy_of_the_teacher(name):
    x = RNG.normal(0, 1, (6, 8)).astype("float32")
    turn = np.linalg.qr(RNG.normal(0, 1, (8, 8)))[0].astype("float32")
    zero = np.zeros((6, 1, 2), np.float32)
    method = get_method(name)
    value = method(zero, {"landmarks": zero, "embedding": 3 * x @ turn}, {"tough": {"embedding": x}})
    np.testing.assert_allclose(ops.convert_to_numpy(value), 0, atol=1e-4)


def test_pil_is_the_laplace_likelihood_by_hand():
    method = get_method("pil", {"alpha": 0.0, "scale": 0.1})
    method.log_sigma.build((None, 2))
    # log σ = 0.5 · 1 + 0 · 3 − 2 = −1.5
    method.log_sigma.set_weights([np.array([[0.5], [0.0]]), np.array([-2.0])])
    student = {**STUDENT, "embedding": np.array([[1.0, 3.0]] * 2, np.float32)}
    distance = np.sqrt([0.005, 0.02])
    np.testing.assert_allclose(
        ops.convert_to_numpy(method(TRUTH, student, TEACHER)), 0.1 * (distance * np.exp(1.5) - 1.5), rtol=1e-4
    )


def test_srrl_is_silent_where_the_connected_student_is_the_teacher():
    import keras

    method = get_method("srrl")
    identity = keras.layers.Dense(3)
    identity.build((None, 3))
    identity.set_weights([np.eye(3), np.zeros(3)])
    kernel, bias = RNG.normal(0, 1, (3, 2)).astype("float32"), np.array([0.1, -0.2], np.float32)
    method.connectors["tough"], method._heads["tough"] = identity, (kernel, bias)
    h = RNG.normal(0, 1, (2, 3)).astype("float32")
    teacher = {"landmarks": (h @ kernel + bias).reshape(2, 1, 2), "embedding": h}
    terms = method.terms(TRUTH, {"landmarks": TRUTH, "embedding": h}, {"tough": teacher})
    for value in terms.values():
        np.testing.assert_allclose(ops.convert_to_numpy(value), 0, atol=1e-10)
    moved = method.terms(TRUTH, {"landmarks": TRUTH, "embedding": h + 1}, {"tough": teacher})
    # a distance of 1 everywhere, in units of the teacher's own features
    expected = 1 / (np.square(h).mean(axis=1) + 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(moved["features"]), expected, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(moved["regression"]), np.mean(kernel.sum(axis=0) ** 2), rtol=1e-4)
