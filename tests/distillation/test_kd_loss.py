"""KD-Loss with numbers derived by hand, and against loops in plain NumPy."""

import numpy as np
import pytest
from keras import ops

from kd_loss.distillation import KDLoss, kd_loss_terms
from kd_loss.distillation.kd_loss_formulae import assistive_loss, main_loss
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

CODE = {"alpha": 1.9, "alpha_minus": -0.45, "beta": 0.15, "ramp": False}
PAPER = {"alpha": 1.0, "alpha_minus": -0.5, "beta": 0.4, "ramp": True}


@pytest.mark.parametrize(
    ("d", "t", "kind", "expected"),
    [
        (0.03, 0.02, CODE, 1.9 * 0.01),  # R_P: worse than the teacher
        (0.01, 0.02, CODE, -0.45 * 0.01),  # R_N: the reward
        (0.002, 0.02, CODE, 0.0),  # below b = 0.003
        (0.02, 0.02, CODE, 0.0),  # as good as the teacher
        (0.06, 0.04, PAPER, 0.02),
        (0.03, 0.04, PAPER, -0.5 * 0.01),
        (0.008, 0.04, PAPER, -0.5 * (0.008 / 0.016) * 0.032),  # the ramp, b = 0.016
        (0.0, 0.04, PAPER, 0.0),
        (0.05, 0.0, PAPER, 0.05),  # an exact teacher
        (0.0, 0.0, PAPER, 0.0),
    ],
)
def test_assistive_loss_by_hand(d, t, kind, expected):
    assert float(assistive_loss(d, t, **kind)) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("d", "tolerant", "variant", "expected"),
    [
        (0.03, 0.04, "code", 0.09),
        (0.05, 0.04, "code", 0.0025 + 0.12 - 0.0016),
        (0.04, 0.04, "code", 0.12),
        (0.3, 0.04, "paper", 0.3),
        (0.5, 0.04, "paper", 0.5),
        (0.6, 0.04, "paper", 0.36 + 0.25),
    ],
)
def test_main_loss_by_hand(d, tolerant, variant, expected):
    assert float(main_loss(d, tolerant, variant)) == pytest.approx(expected, abs=1e-7)


def test_terms_of_one_face_by_hand():
    # one point: x off by 0.03, y exact; tough errs by 0.02 and 0, tolerant by 0.04 and 0
    terms = kd_loss_terms([[[0.0, 0.0]]], [[[0.03, 0.0]]], [[[-0.02, 0.0]]], [[[0.04, 0.0]]], variant="code")
    assert float(terms["main"][0]) == pytest.approx(0.09 / 2, abs=1e-7)
    assert float(terms["tough"][0]) == pytest.approx(1.9 * 0.01 / 2, abs=1e-7)
    assert float(terms["tolerant"][0]) == pytest.approx(-0.40 * 0.01 / 2, abs=1e-7)


def loops(truth, student, tough, tolerant, variant):
    """The loss as the paper words it, with the reflected teacher, coordinate by coordinate."""
    beta = {"paper": 0.4, "code": 0.15}[variant]
    alphas = {"paper": ((1.0, -0.5), (1.0, -0.5)), "code": ((1.9, -0.45), (1.8, -0.40))}[variant]
    result = {"main": [], "tough": [], "tolerant": []}
    for face in range(len(truth)):
        sums = dict.fromkeys(result, 0.0)
        flat = [a[face].reshape(-1) for a in (truth, student, tough, tolerant)]
        for gt, pr, hard, soft in zip(*flat, strict=True):
            d, knee = abs(pr - gt), abs(soft - gt)
            if variant == "paper":
                sums["main"] += d if d <= 0.5 else d**2 + 0.25
            else:
                sums["main"] += 3 * d if d <= knee else d**2 + 3 * knee - knee**2
            for name, teacher, (alpha, minus) in (("tough", hard, alphas[0]), ("tolerant", soft, alphas[1])):
                t = abs(teacher - gt)
                reflected = gt + np.sign(pr - gt) * t
                if d > t:
                    weight = alpha
                elif d >= beta * t:
                    weight = minus
                else:
                    weight = minus * d / (beta * t) if variant == "paper" else 0.0
                sums[name] += weight * abs(reflected - pr)
        for name, value in sums.items():
            result[name].append(value / len(flat[0]))
    return result


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("shape", [(5, 7, 2), (5, 14)])
def test_against_loops(variant, shape):
    rng = np.random.default_rng(0)
    truth = rng.uniform(-0.5, 0.5, shape)
    student, tough, tolerant = (truth + rng.normal(0, s, shape) for s in (0.3, 0.1, 0.2))
    terms = kd_loss_terms(truth, student, tough, tolerant, variant=variant)
    for name, expected in loops(truth, student, tough, tolerant, variant).items():
        np.testing.assert_allclose(ops.convert_to_numpy(terms[name]), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_the_direction_of_a_teachers_error_does_not_matter(variant):
    rng = np.random.default_rng(1)
    truth, student, error = (rng.normal(0, 0.1, (3, 4, 2)) for _ in range(3))
    a = kd_loss_terms(truth, student, truth + error, truth - error, variant=variant)
    b = kd_loss_terms(truth, student, truth - error, truth + error, variant=variant)
    for name in a:
        np.testing.assert_allclose(ops.convert_to_numpy(a[name]), ops.convert_to_numpy(b[name]), rtol=1e-4, atol=1e-7)


def test_the_papers_curve_is_continuous_and_the_codes_jumps_at_b():
    t = 0.04
    around = np.array([0.4 * t - 1e-6, 0.4 * t + 1e-6])
    paper = assistive_loss(around, np.full(2, t), **PAPER)
    assert abs(paper[1] - paper[0]) < 1e-5
    around = np.array([0.15 * t - 1e-6, 0.15 * t + 1e-6])
    code = assistive_loss(around, np.full(2, t), **CODE)
    assert code[1] - code[0] == pytest.approx(-0.45 * 0.85 * t, rel=1e-2)


def test_the_weighted_sum_is_two_and_a_half_one_one():
    rng = np.random.default_rng(2)
    truth, student, tough, tolerant = (rng.normal(0, 0.1, (3, 4, 2)).astype("float32") for _ in range(4))
    method = KDLoss(variant="code")
    teachers = {"tough": {"landmarks": tough}, "tolerant": {"landmarks": tolerant}}
    total = method(truth, {"landmarks": student}, teachers)
    terms = kd_loss_terms(truth, student, tough, tolerant, variant="code")
    np.testing.assert_allclose(
        ops.convert_to_numpy(total),
        ops.convert_to_numpy(2.5 * terms["main"] + terms["tough"] + terms["tolerant"]),
        rtol=1e-6,
    )


def test_bad_parameters():
    with pytest.raises(UserError, match="variant of kd_loss 'codes': did you mean 'code'"):
        KDLoss(variant="codes")
    with pytest.raises(UserError, match=r"kd_loss.tough = -1 is negative"):
        KDLoss(tough=-1)


def test_the_papers_truth_is_a_minimum_from_a_main_weight_of_two_and_a_half():
    # slope of the sum at d = 0+: main − 2 · 0.5 / 0.4
    d = np.array([[1e-4]])
    terms = kd_loss_terms([[0.0]], d, [[0.02]], [[0.04]], variant="paper")
    value = {name: float(v[0]) / 1e-4 for name, v in terms.items()}
    assert value["main"] == pytest.approx(1)
    assert value["tough"] + value["tolerant"] == pytest.approx(-2.5, rel=0.02)


def test_the_rectangles_of_a_pose_are_those_of_its_six_numbers():
    """(B, 2, 3) in standardised numbers: each is worth what it would be worth as a coordinate."""
    rng = np.random.default_rng(3)
    truth, student, tough, tolerant = rng.normal(0, 0.5, (4, 2, 2, 3)).astype("float32")
    for variant in ("paper", "code"):
        pose = kd_loss_terms(truth, student, tough, tolerant, variant)
        flat = [values.reshape(2, 3, 2) for values in (truth, student, tough, tolerant)]
        points = kd_loss_terms(*flat, variant)
        for name, value in pose.items():
            assert value.shape == (2,)
            np.testing.assert_allclose(value, points[name], rtol=1e-6)
