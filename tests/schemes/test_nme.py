"""NME by NumPy, by Keras, and by hand."""

import keras
import numpy as np
import pytest

from kd_loss.evaluation.metrics import normalising_distance, point_errors
from kd_loss.schemes import nme
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme

BOXED = LandmarkScheme("boxed", 5)


def test_by_hand_with_a_point_that_is_not_annotated():
    truth = np.array([[[0.0, 0.0], [4.0, 1.0], [np.nan, np.nan]]])
    predicted = np.array([[[0.3, 0.4], [4.0, 1.0], [9.0, 9.0]]])
    extent = nme.box_extent(truth)
    assert extent.tolist() == [[4, 1]]
    errors = nme.point_errors(predicted, truth, np.sqrt(extent.prod(axis=1)))  # 0.5 and 0 over √(4 · 1)
    np.testing.assert_allclose(errors, [[25, 0, np.nan]])
    np.testing.assert_allclose(nme.face_means(errors), [12.5])
    np.testing.assert_allclose(nme.face_means(np.full((1, 3), np.nan)), [np.nan])
    assert np.isnan(nme.box_extent(np.full((1, 3, 2), np.nan))).all()


@pytest.mark.parametrize("scheme", [W300, BOXED])
def test_training_and_evaluation_have_one_error(scheme):
    """Faces with all points, without two, without any point of the normaliser, and without any."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4, scheme.points, 2)).astype("float32")
    predicted = truth + rng.normal(size=truth.shape, scale=0.02).astype("float32")
    truth[1, :2] = np.nan
    truth[2, 1:] = np.nan
    truth[3] = np.nan
    got = keras.ops.convert_to_numpy(scheme.training_error(keras.ops.array(truth), keras.ops.array(predicted)))
    whole = normalising_distance(truth[:2], scheme, scheme.default_normaliser)
    np.testing.assert_allclose(got[:2], nme.face_means(point_errors(predicted[:2], truth[:2], whole)), rtol=1e-5)
    assert not np.isfinite(got[2:]).any()  # without a distance there is no NME
