"""Which points are visible, carried from one scheme to another."""

import numpy as np

from kd_loss.archives.merge import in_scheme, matched
from kd_loss.archives.sample import Sample
from kd_loss.archives.seen_points import labels_of_68
from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.benchmarks import AFLW21, CFP30, COFW, W300, WFLW
from kd_loss.schemes.full_head import AFLW


def test_labels_of_the_68_for_other_schemes():
    labels = np.ones(68)
    labels[[8, 37]] = 0
    labels[45] = np.nan
    of_cofw, of_wflw = labels_of_68(labels, COFW), labels_of_68(labels, WFLW)
    assert np.flatnonzero(of_cofw == 0).tolist() == [28]  # the chin
    # the lid and the pupil beside point 37 are unknown, as 38 is visible; the outer corner of the left eye is unknown
    assert np.flatnonzero(np.isnan(of_cofw)).tolist() == [9, 12, 16]
    assert np.flatnonzero(of_wflw == 0).tolist() == [16, 61]
    assert (~np.isnan(of_wflw)).sum() == 67
    labels[37] = 1
    assert labels_of_68(labels, COFW)[[12, 16]].tolist() == [1, 1]


def test_faces_of_aflw_and_cfp_in_29_points_by_the_68():
    assert not matched(AFLW21, COFW)
    points = ((AFLW @ to_matrices([0.0, np.radians(70), 0.0]).T)[:, :2] * 0.05 + 50).astype(float)
    points[[0, 1, 2, 6, 7, 8, 17]] = np.nan  # the far half
    sample = Sample("face", points, "train", "aflw", "face", lambda: None, visibility=np.isfinite(points[:, 0]) * 1.0)
    face, face_68 = in_scheme(sample, AFLW21, COFW), in_scheme(sample, AFLW21, W300)
    known = np.isfinite(face.landmarks[:, 0])
    assert np.flatnonzero(known).tolist() == [9, 11, 20, 23, 28]
    np.testing.assert_allclose(face.landmarks[[9, 28]], face_68.landmarks[[45, 8]])
    assert face.outline.shape == (29, 2)
    assert np.isfinite(face.outline).all()
    assert np.flatnonzero(face.visibility == 0).tolist() == [0, 2, 4, 5, 8, 10, 12, 13, 16, 22]
    half = Sample("half", np.arange(60.0).reshape(30, 2), "train", "profile", "half", lambda: None)
    assert np.isfinite(in_scheme(half, CFP30, COFW).landmarks[:, 0]).sum() == 10  # brow, eye, nose, lips, chin
