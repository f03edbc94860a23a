import json
import logging

import numpy as np
import pytest

from kd_loss.archives.sample import Archive, Sample
from kd_loss.archives.wflw import read_wflw
from kd_loss.datasets.map_points import annotated_pairs, distances, drawn_pairs, map_scheme, mapped_archive
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.schemes.benchmarks import AFLW21, CFP30, COFW, W300, WFLW
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.point_map import held_out_error
from kd_loss.schemes.same_points import same_points
from kd_loss.synthetic.faces import face_landmarks
from kd_loss.system.errors import UserError
from tests.archives.archives import write_wflw

#: a scheme of three points; its first two are the last two of the other, backwards
THREE = LandmarkScheme("three", 3, same={"two": (1, 0, None)}, normalisers={"eyes": ((0,), (1,))})
TWO = LandmarkScheme("two", 2)


def archive_of(scheme, faces, **attributes):
    samples = [
        Sample(str(i), points, "train", "train", str(i), lambda: np.zeros((9, 9, 3), np.uint8), attributes)
        for i, points in enumerate(faces)
    ]
    return Archive(scheme, samples)


def test_tables_go_both_ways():
    assert same_points(THREE, TWO).tolist() == [1, 0]
    assert same_points(TWO, THREE).tolist() == [1, 0, -1]
    assert same_points(W300, W300).tolist() == list(range(68))
    assert (same_points(CFP30, W300) == -1).all()  # which half it is hangs on the face
    assert np.flatnonzero(same_points(AFLW21, W300) >= 0).tolist() == [8, 30, 36, 39, 42, 45, 48, 54]


def test_98_points_as_68_by_the_table_are_those_of_the_same_drawn_face():
    mapping = map_scheme(WFLW, W300)
    assert mapping.fitted is None
    assert "all by the table of indices, which costs nothing" in mapping.line
    faces = np.stack([face_landmarks("wflw", 200, 0, i) for i in range(3)])
    known = np.r_[0:17, 27:36, 36, 39, 42, 45, 48, 54]  # points that both schemes draw at the same places
    truth = np.stack([face_landmarks("w300", 200, 0, i) for i in range(3)])
    np.testing.assert_allclose(mapping(faces)[:, known], truth[:, known], atol=1e-6)


def test_the_others_follow_from_a_linear_map_with_held_out_error():
    rng = np.random.default_rng(0)
    two = np.stack([np.tile([0.0, 100], (60, 1)), rng.normal(0, 5, (60, 2))], axis=2)  # their box is 100 px wide
    noise = rng.normal(0, 1, (60, 2))
    third = two.mean(axis=1) + [0, 30] + noise
    three = np.concatenate([two[:, ::-1], third[:, None]], axis=1)
    mapping = map_scheme(TWO, THREE, (two, three, None, "faces"))
    assert mapping.table.tolist() == [1, 0, -1]
    found = mapping(two)
    np.testing.assert_array_equal(found[:, :2], three[:, :2])
    # a mean distance of 1.25 px (noise of 1 px in x and y) over a distance of about 100 px
    cost = np.linalg.norm(noise, axis=1).mean() / distances(three, THREE).mean() * 100
    assert mapping.errors[2] == pytest.approx(cost, rel=0.2)
    assert mapping.errors[2] > 100 * (np.linalg.norm(found[:, 2] - third, axis=1) / distances(three, THREE)).mean()
    assert mapping.errors[:2].tolist() == [0, 0]
    assert f"mean error {mapping.errors[2]:.2f} % of eyes on those" in mapping.line


def test_no_photograph_stands_on_both_sides():
    """Two faces of each photograph, whose truth is a number of the photograph alone: nothing can be learnt."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (20, 40, 2)).repeat(2, axis=0)
    truth = rng.normal(0, 1, (20, 1, 2)).repeat(2, axis=0)
    groups = np.arange(20).repeat(2)
    apart = held_out_error(points, truth, np.ones(40), groups).mean()
    together = held_out_error(points, truth, np.ones(40)).mean()
    assert apart > 80
    assert together < apart / 2


def test_drawn_faces_where_none_are_annotated_twice():
    first, second, groups, origin = drawn_pairs(W300, COFW, count=5)
    assert (first.shape, second.shape, groups, origin) == ((5, 68, 2), (5, 29, 2), None, "drawn faces")
    np.testing.assert_allclose(first[:, 36], second[:, 8])  # the outer corner of the right eye
    mapping = map_scheme(W300, COFW, drawn_pairs(W300, COFW, count=40))
    assert mapping.errors.mean() < 1
    assert "photographs cost several times as much as drawn faces" in mapping.line
    with pytest.raises(UserError, match="no faces of 'aflw' are drawn; .* --map-points w300=FOLDER"):
        map_scheme(AFLW21, W300)


def test_a_face_that_is_partly_annotated_keeps_the_table_s_points():
    mapping = map_scheme(W300, COFW, drawn_pairs(W300, COFW, count=20))
    face = face_landmarks("w300", 200, 0, 0)
    face[3] = np.nan
    known = ~np.isnan(mapping(face[None])[0, :, 0])
    assert np.flatnonzero(~known).tolist() == [5, 7, *range(12, 18)]  # brows' lower edges, lids, pupils
    part = np.array([[1.0, 1], [2, 2], [np.nan, np.nan]])
    assert map_scheme(THREE, TWO)(part[None])[0].tolist() == [[2, 2], [1, 1]]
    archive = archive_of(THREE, [part, np.array([[1.0, 1], [np.nan, np.nan], [5, 5]])], occluded=np.array([1, 0, 0]))
    moved = mapped_archive(archive, map_scheme(THREE, TWO))
    assert len(moved.samples) == 1
    assert "1 partly annotated faces" in moved.warnings[0]
    assert moved.samples[0].attributes["occluded"].tolist() == [0, 1]
    assert moved.scheme.name == "three_two"


def test_pairs_of_an_archive_that_maps_to_the_other_s_points(tmp_path):
    archive = read_wflw(write_wflw(tmp_path, train=4))
    points, truth, groups, origin = annotated_pairs(archive, W300)
    assert points.shape == (4, 68, 2)
    np.testing.assert_array_equal(points[:, 8], truth[:, 16])
    assert len(set(groups)) == 4
    assert origin == "training faces of 'wflw'"
    with pytest.raises(UserError, match="faces of 'w300' have 21 of the 29 points of 'cofw'"):
        annotated_pairs(Archive(W300), COFW)


def test_prepare_writes_the_points_of_another_scheme(tmp_path, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    source = write_wflw(tmp_path / "WFLW", train=12)
    run_prepare(PrepareOptions(dataset="wflw", source=str(source), map_points="w300", size=32, data=tmp_path / "data"))
    dataset = open_dataset("wflw_w300", tmp_path / "data")
    assert dataset.scheme.points == 68
    assert dataset.scheme.pairs == W300.pairs
    split = dataset.split("train")
    assert split.landmarks.shape == (12, 68, 2)
    assert "pose" in split.attributes
    assert "98 points of 'wflw' -> 68 of 'w300'" in " ".join(caplog.messages)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=folder", "is not of the form scheme or scheme=folder"),
        ("w300=", "is not of the form scheme or scheme=folder"),
        ("w3000", "did you mean 'w300'"),
        ("aflw", "no data says where the points of 'aflw' lie on a face of 'wflw'"),
        ("cofw=nowhere", "no such folder: nowhere"),
    ],
)
def test_a_map_that_cannot_be_is_one_line(tmp_path, text, message):
    source = write_wflw(tmp_path / "WFLW")
    with pytest.raises(UserError, match=message):
        run_prepare(PrepareOptions(dataset="wflw", source=str(source), map_points=text, data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_68_points_of_photographs_as_98_cost_a_percent_on_the_30_others(real_faces):
    archive = read_wflw(real_faces / "WFLW")
    archive.samples = archive.samples[:150]  # 0.98 % from all 374
    mapping = map_scheme(W300, WFLW, annotated_pairs(archive, W300))
    assert (mapping.table < 0).sum() == 30
    assert 0.7 < mapping.errors[mapping.table < 0].mean() < 2


def test_a_scheme_that_scrambles_its_faces_is_refused_by_default(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    import cv2

    rows = []
    for index in range(30):
        cv2.imwrite(str(tmp_path / "faces" / f"{index}.png"), rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
        points = np.array([[10, 10], [40, 10], [10, 40], [40, 40]]) + rng.normal(0, 0.5, (4, 2))
        rows.append(",".join([f"{index}.png", *(f"{v:.2f}" for v in points.reshape(-1))]))
    (tmp_path / "faces" / "faces.csv").write_text("\n".join(rows))
    scheme = tmp_path / "dots.json"
    scheme.write_text(json.dumps({"name": "dots", "points": 4, "pairs": [[0, 3], [1, 2]]}))
    options = {"scheme": str(scheme), "source": str(tmp_path / "faces"), "size": 32, "data": tmp_path / "data"}
    with pytest.raises(UserError, match="the pairs of 'dots' scramble points 0, 1, 2, 3: 0 would change places with 3"):
        run_prepare(PrepareOptions(**options))
    assert not (tmp_path / "data").exists()
    run_prepare(PrepareOptions(**options, pairs="given"))
    assert open_dataset("dots", tmp_path / "data").scheme.pairs == ((0, 3), (1, 2))


def test_a_scheme_without_pairs_gets_those_found_in_the_faces(caplog):
    from kd_loss.datasets.mirror_pairs import with_pairs

    rng = np.random.default_rng(0)
    faces = np.array([[10, 10], [40, 10], [10, 40], [40, 40]]) + rng.normal(0, 0.5, (30, 4, 2))
    caplog.set_level(logging.INFO, "kd_loss")
    same = with_pairs(archive_of(LandmarkScheme("dots", 4), faces), False)
    assert same.scheme.pairs == ()
    assert '"pairs": [[0, 1], [2, 3]]' in caplog.messages[0]
    made = with_pairs(archive_of(LandmarkScheme("dots", 4), faces), True)
    assert made.scheme.pairs == ((0, 1), (2, 3))
    assert len(caplog.messages) == 2
