from dataclasses import replace

import numpy as np
import pytest

from kd_loss.archives.cofw import read_cofw
from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.schemes.benchmarks import CFP30, COFW, LANDMARK_SCHEMES, W300, WFLW
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.mirror import check_mirror, mean_shape, propose_mirror
from kd_loss.synthetic.faces import face_landmarks
from kd_loss.system.errors import UserError

FIVE = np.array([[-2.0, 0], [2, 0], [0, 1], [-1, 3], [1, 3]])


def noisy(points, count=60, noise=0.05, seed=0):
    return points + np.random.default_rng(seed).normal(0, noise, (count, *points.shape))


def drawn(name, count=40):
    return np.stack([face_landmarks(name, 300, 1, index) for index in range(count)])


def test_partners_and_margin_of_five_points():
    proposed = propose_mirror(noisy(FIVE))
    assert proposed.pairs == ((0, 1), (3, 4))
    assert proposed.partner.tolist() == [1, 0, 2, 4, 3]
    assert proposed.sure
    # in units of the longer side, 4: the nearest other candidate is 2 away for points 3 and 4
    assert proposed.margin == pytest.approx(2 / 4, abs=0.02)


def test_turned_scaled_and_partly_annotated_faces_give_the_same_pairs():
    rng = np.random.default_rng(0)
    faces = noisy(FIVE, 200)
    for index, face in enumerate(faces):
        angle = rng.normal(0, 0.4)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        faces[index] = rng.uniform(0.1, 50) * face @ turn + rng.uniform(-99, 99, 2)
    faces[rng.random((200, 5)) < 0.2] = np.nan
    proposed = propose_mirror(faces)
    assert proposed.pairs == ((0, 1), (3, 4))
    assert proposed.sure
    mean, error = mean_shape(faces)
    assert np.ptp(mean, axis=0).max() == pytest.approx(1)
    assert (error < 0.01).all()


def test_a_point_that_is_never_annotated_is_not_judged():
    faces = noisy(FIVE)
    faces[:, 3] = np.nan
    proposed = propose_mirror(faces)
    assert proposed.pairs == ((0, 1),)
    check_mirror(LandmarkScheme("five", 5, pairs=((0, 1), (3, 4))), propose_mirror(noisy(FIVE)))


def test_a_scrambled_map_is_refused_by_the_points_names():
    proposed = propose_mirror(noisy(FIVE))
    check_mirror(LandmarkScheme("five", 5, pairs=((0, 1), (3, 4))), proposed)
    with pytest.raises(UserError, match="the pairs of 'five' scramble points 0, 1, 3, 4: 0 would change places with 4"):
        check_mirror(LandmarkScheme("five", 5, pairs=((0, 4), (1, 3))), proposed)
    with pytest.raises(UserError, match=r"scramble points 3, 4: 3 would stay, \d+.\d % of a face .* its partner is 4"):
        check_mirror(LandmarkScheme("five", 5, pairs=((0, 1),)), proposed)
    with pytest.raises(UserError, match="scramble points 2, 3, 4: .* its partner is itself"):
        check_mirror(LandmarkScheme("five", 5, pairs=((0, 1), (2, 3))), proposed)


def test_a_shape_that_is_no_mirror_image_of_itself_is_not_judged():
    crooked = np.array([[0.0, 0], [3, 0.2], [4, 2], [1, 5], [0.3, 1.7]])
    proposed = propose_mirror(noisy(crooked))
    assert not proposed.symmetric
    assert not proposed.sure
    check_mirror(LandmarkScheme("crooked", 5, pairs=((0, 3),)), proposed)


def test_too_few_faces_are_one_line():
    with pytest.raises(UserError, match="at least 10 faces, got 9"):
        propose_mirror(noisy(FIVE, 9))


@pytest.mark.parametrize("name", ["w300", "cofw", "wflw"])
@pytest.mark.parametrize("count", [10, 120])
def test_drawn_faces_agree_with_the_package_s_schemes(name, count):
    proposed = propose_mirror(drawn(name, count))
    check_mirror(LANDMARK_SCHEMES[name], proposed)
    # two points of the drawn 98 lie on one another (the inner end of a brow): either may be the partner
    tied = {37, 38, 42, 50} if name == "wflw" else set()
    assert {p for p in proposed.pairs if not tied & set(p)} == {
        tuple(sorted(p)) for p in LANDMARK_SCHEMES[name].pairs if not tied & set(p)
    }


def scrambled(scheme, old, new):
    return replace(scheme, pairs=(*(pair for pair in scheme.pairs if pair not in old), *new))


def test_neighbours_on_the_jaw_that_change_places_are_seen():
    """Of 98 points the map of a published training code scrambled 8, 9 and 23: neighbours 4 % of a face apart."""
    proposed = propose_mirror(drawn("wflw", 120))
    wrong = scrambled(WFLW, ((8, 24), (9, 23)), ((8, 23), (9, 24)))
    with pytest.raises(UserError, match="scramble points 8, 9, 23, 24: 8 would change places with 23"):
        check_mirror(wrong, proposed)


def test_half_a_face_and_a_scheme_without_pairs_are_not_judged():
    check_mirror(LandmarkScheme("five", 5), propose_mirror(noisy(FIVE)))
    check_mirror(replace(CFP30, pairs=((0, 1),)), propose_mirror(np.random.default_rng(0).normal(0, 9, (20, 30, 2))))


@pytest.mark.parametrize(
    ("scheme", "read", "folder", "sure"),
    [(W300, read_w300, "300W", True), (WFLW, read_wflw, "WFLW", False), (COFW, read_cofw, "COFW", False)],
    ids=["w300", "wflw", "cofw"],
)
def test_photographs_agree_with_the_package_s_schemes(real_faces, scheme, read, folder, sure):
    faces = np.stack([s.landmarks for s in read(real_faces / folder).samples if s.split == "train"])
    proposed = propose_mirror(faces)
    check_mirror(scheme, proposed)
    assert set(proposed.pairs) == {tuple(sorted(pair)) for pair in scheme.pairs}
    assert proposed.sure is sure  # 374 and 65 faces leave some doubt
    for left_out in scheme.pairs:
        assert set(left_out) <= set(
            proposed.misplaced(replace(scheme, pairs=(*set(scheme.pairs) - {left_out},)).flip_index)
        )
