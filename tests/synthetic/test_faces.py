import numpy as np
import pytest

from kd_loss.archives.synthetic import draw_archive
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
from kd_loss.synthetic.faces import draw_face, face_landmarks
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


def test_the_same_seed_draws_the_same_face():
    np.testing.assert_array_equal(draw_face(80, 1, 2), draw_face(80, 1, 2))
    assert (draw_face(80, 1, 2) != draw_face(80, 1, 3)).any()


@pytest.mark.parametrize("name", ["synthetic", "synthetic_cofw", "synthetic_wflw"])
def test_every_scheme_is_drawn_with_all_points_in_the_picture(name):
    archive = draw_archive(name, 8, 64, 0.15, 0)
    assert len(archive.samples) == 10
    for sample in archive.samples:
        height, width = sample.load().shape[:2]
        assert sample.landmarks.shape == (LANDMARK_SCHEMES[name].points, 2)
        assert (sample.landmarks > -1).all()
        assert (sample.landmarks < (width + 1, height + 1)).all()


def test_the_schemes_agree_on_the_points_that_they_share():
    w300, wflw, cofw = (face_landmarks(scheme, 160, 0, 4) for scheme in ("w300", "wflw", "cofw"))
    # outer eye corners, mouth corners, chin, tip of the nose
    for a, b in ((36, 60), (45, 72), (48, 76), (54, 82), (8, 16), (30, 54)):
        np.testing.assert_allclose(w300[a], wflw[b], atol=1e-9)
    for a, b in ((36, 8), (45, 9), (48, 22), (54, 23), (8, 28)):
        np.testing.assert_allclose(w300[a], cofw[b], atol=1e-9)
    np.testing.assert_allclose(wflw[[96, 97]], cofw[[16, 17]], atol=1e-9)


def test_the_points_sit_on_the_eyes():
    # averaged over many faces, the white of the eye is brighter than the lid above the brow-side of it
    inside, lid = [], []
    for index in range(60):
        image = draw_face(160, 3, index).astype(float).mean(axis=-1)
        p = face_landmarks("w300", 160, 3, index)
        for corner, upper in ((36, 37), (45, 44)):
            x, y = p[corner] * 0.6 + p[[37, 41] if corner == 36 else [44, 46]].mean(axis=0) * 0.4
            inside.append(image[round(y), round(x)])
            ux, uy = p[upper]
            lid.append(image[round(uy), round(ux)])
    assert np.mean(inside) > np.mean(lid) + 15


def test_yaw_moves_the_nose_between_the_ears():
    ratios = []
    for index in range(200):
        p = face_landmarks("w300", 160, 0, index)
        ratios.append(np.linalg.norm(p[30] - p[0]) / np.linalg.norm(p[30] - p[16]))
    assert min(ratios) < 0.6
    assert max(ratios) > 1.6


def test_too_few_faces_are_refused():
    with pytest.raises(UserError, match="--count 3"):
        draw_archive("synthetic", 3, 64, 0.15, 0)
