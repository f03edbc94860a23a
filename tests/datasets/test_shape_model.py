import numpy as np
import pytest

from kd_loss.datasets.shape_model import ShapeModel
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


def line_shapes():
    """Four shapes of two points that differ along one direction only: x of the second point."""
    shapes = np.zeros((4, 2, 2))
    shapes[:, 1, 0] = [1.0, 2.0, 3.0, 4.0]
    return shapes


def test_mean_and_variance_by_hand():
    model = ShapeModel.fit(line_shapes(), 0.9)
    np.testing.assert_allclose(model.mean, [0, 0, 2.5, 0])
    # the sample variance of 1, 2, 3, 4 is 5/3
    np.testing.assert_allclose(model.variances, [5 / 3])
    np.testing.assert_allclose(np.abs(model.components), [[0, 0, 1, 0]], atol=1e-12)


def test_a_shape_of_the_model_stays_and_what_it_lacks_goes():
    model = ShapeModel.fit(line_shapes(), 0.9)
    shape = np.array([[[0.5, 0.0], [3.0, 0.7]]])
    np.testing.assert_allclose(model.soften(shape), [[[0, 0], [3.0, 0]]], atol=1e-6)


def test_parameters_are_clamped_to_three_deviations():
    model = ShapeModel.fit(line_shapes(), 0.9)
    soft = model.soften(np.array([[[0.0, 0.0], [100.0, 0.0]]]))
    np.testing.assert_allclose(soft[0, 1, 0], 2.5 + 3 * np.sqrt(5 / 3), rtol=1e-6)


def test_more_variance_means_closer_soft_landmarks(synthetic):
    hard = synthetic.split("train").landmarks
    errors = [np.abs(ShapeModel.fit(hard, v).soften(hard) - hard).mean() for v in (0.5, 0.9, 0.99)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_saving_and_loading(tmp_path, synthetic):
    hard = synthetic.split("train").landmarks
    model = ShapeModel.fit(hard)
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(ShapeModel.load(tmp_path / "m.npz").soften(hard), model.soften(hard))


@pytest.mark.parametrize("variance", [0.0, 1.0, 1.5])
def test_a_share_outside_of_0_to_1_is_refused(variance):
    with pytest.raises(UserError, match="--shape-variance"):
        ShapeModel.fit(line_shapes(), variance)


def test_too_few_faces_are_refused():
    with pytest.raises(UserError, match="at least 3"):
        ShapeModel.fit(np.zeros((2, 5, 2)))


def test_of_faces_that_are_all_the_same_everything_is_kept():
    faces = np.repeat(np.random.default_rng(0).uniform(-0.4, 0.4, (1, 5, 2)), 4, axis=0).astype(np.float32)
    model = ShapeModel.fit(faces, 0.9)
    assert model.kept == 1
    np.testing.assert_allclose(model.soften(faces), faces, atol=1e-6)
