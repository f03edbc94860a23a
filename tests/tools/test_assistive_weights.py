import numpy as np
import pytest

from kd_loss.distillation.kd_loss_formulae import assistive_loss
from tools.assistive_weights import compare, slope

pytestmark = pytest.mark.quick


def test_the_slope_is_the_derivative_of_the_assistive_loss():
    rng = np.random.default_rng(0)
    t = rng.uniform(0.2, 1, 500)
    d = rng.uniform(0, 2, 500)
    step = 1e-6
    near = np.minimum(np.abs(d - t), np.abs(d - 0.4 * t)) < 1e-3  # the kinks
    up, down = (assistive_loss(d + s, t, 1.0, -0.5, 0.4, ramp=True) for s in (step, -step))
    assert slope(d, t)[~near] == pytest.approx(((up - down) / (2 * step))[~near], abs=1e-5)


def test_a_student_that_is_always_worse_has_the_plain_gradient_four_and_a_half_times_as_long():
    truth = np.zeros((3, 2, 2))
    found = compare(truth, truth + 1, truth + 0.1, truth + 0.2)
    assert found == {"tough": 1, "tolerant": 1, "both": 1, "length": 4.5, "deviation": 0, "cosine": pytest.approx(1)}


def test_points_without_annotation_do_not_count():
    truth = np.zeros((1, 2, 2))
    truth[0, 1] = np.nan
    found = compare(truth, truth + 1, truth + 2, truth + 0.5)
    assert (found["tough"], found["tolerant"], found["both"], found["length"]) == (0, 1, 0, 2.5 + 0.5 + 1)
