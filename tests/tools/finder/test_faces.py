"""Faces of annotated pictures, and of those that detectors see."""

import cv2
import numpy as np
import pytest

from kd_loss.archives.sample import Sample
from kd_loss.detection import Detection
from kd_loss.system.errors import UserError
from tools.finder.faces import (
    FacePicture,
    face_of_30,
    face_of_68,
    label,
    of_sample,
    read_backgrounds,
    read_cfp,
    rescale,
)

NOBODY = np.zeros((0, 13))


def points_68():
    points = np.full((68, 2), [50.0, 60.0])
    points[0], points[16] = [10, 55], [90, 60]
    points[36:42], points[42:48] = [30, 40], [70, 42]
    points[30], points[48], points[54] = [50, 55], [35, 80], [65, 82]
    return points


def points_30():
    """The left half of a frontal face whose nose and chin stand at x = 50."""
    points = np.full((30, 2), [30.0, 60.0])
    points[0], points[8] = [10, 50], [50, 100]
    points[18:22] = [[50, 40], [50, 47], [50, 53], [50, 60]]
    points[12:18], points[25] = [30, 40], [35, 80]
    return points


def test_68_landmarks():
    row = face_of_68(points_68())
    np.testing.assert_allclose(row[:3], [50, (40 + 82) / 2, 80])
    np.testing.assert_allclose(row[3:], [30, 40, 70, 42, 50, 55, 35, 80, 65, 82])


def test_the_other_half_of_a_frontal_face_is_its_mirror_image():
    row = face_of_30(points_30(), frontal=True)
    np.testing.assert_allclose(row[:3], [50, 70, 80])  # from 10 to 90, from 40 to 100
    np.testing.assert_allclose(row[3:], [30, 40, 70, 40, 50, 60, 35, 80, 65, 80])


def test_a_profile_shows_one_half():
    points = points_30()
    row = face_of_30(points, frontal=False)
    np.testing.assert_allclose(row[:3], [30, 70, 60])
    np.testing.assert_allclose(row[3:].reshape(5, 2)[[0, 2, 3]], [[30, 40], [50, 60], [35, 80]])
    assert np.isnan(row[3:].reshape(5, 2)[[1, 4]]).all()
    mirrored = face_of_30(points * [-1, 1] + [100, 0], frontal=False)
    assert np.isnan(mirrored[3:].reshape(5, 2)[[0, 3]]).all()


def test_rescale():
    row = np.array([[9.5, 19.5, 10, *[np.nan] * 8, 4.5, 5.5]])
    np.testing.assert_allclose(rescale(row, 2.0)[0, [0, 1, 2, 11, 12]], [19.5, 39.5, 20, 9.5, 11.5])
    assert rescale(NOBODY, 2.0).shape == (0, 13)


def sees(*faces):
    """A detector that answers the same about every picture: `(x, y, side, score)` each."""
    return lambda image: [Detection((x - side / 2, y - side / 2, side, side), score) for x, y, side, score in faces]


def test_what_all_detectors_see_is_a_face():
    image = np.zeros((100, 100, 3), np.uint8)
    first = sees((30, 30, 20, 0.9), (70, 70, 20, 0.9), (20, 80, 10, 0.4), (80, 20, 10, 0.5))
    second = sees((31, 30, 20, 0.8), (80, 20, 10, 0.4))
    faces, unsure = label(image, NOBODY, [first, second], tiles=False)
    np.testing.assert_allclose(faces[:, :3], [[30, 30, 20]])
    assert np.isnan(faces[:, 3:]).all()
    # one is sure, or both are not: it may be one; one that is not sure is wrong
    np.testing.assert_allclose(unsure, [[70, 70, 20], [80, 20, 10]])


def test_annotated_faces_come_first_and_once():
    known = np.array([[30.0, 30, 20, *np.arange(10)]])
    faces, unsure = label(np.zeros((100, 100, 3), np.uint8), known, [sees((32, 30, 22, 0.9))], tiles=False)
    np.testing.assert_array_equal(faces, known)
    assert unsure.shape == (0, 3)


def test_tiles_are_moved_back():
    seen = []

    def detector(image):
        seen.append(image.shape[:2])
        return sees((5, 5, 4, 0.9))(image) if len(seen) == 5 else []

    faces, _ = label(np.zeros((50, 100, 3), np.uint8), NOBODY, [detector], tiles=True)
    assert seen == [(50, 100)] + [(30, 60)] * 4
    np.testing.assert_allclose(faces[:, :3], [[45, 25, 4]])  # the last tile starts at (40, 20)


def test_a_sample_is_kept_small():
    image = np.zeros((480, 640, 3), np.uint8)
    sample = Sample("a", points_68(), "train", "s", "group", lambda: image)
    kept = of_sample(sample, [])
    assert kept.image.shape == (240, 320, 3)
    np.testing.assert_allclose(kept.faces[0, :3], [50.5 / 2 - 0.5, 61.5 / 2 - 0.5, 40])
    assert [h.shape[:2] for h in kept.halves] == [(240, 320), (120, 160), (60, 80), (30, 40)]


def test_halves_of_a_narrow_picture():
    thin = FacePicture(np.zeros((3, 200, 3), np.uint8), NOBODY, np.zeros((0, 3)), "thin")
    assert [h.shape[:2] for h in thin.halves] == [(3, 200)]


def test_cfp(tmp_path):
    (tmp_path / "images" / "007" / "profile").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/007/profile/01.jpg"), np.zeros((120, 100, 3), np.uint8))
    row = ",".join(f"{v:.1f}" for v in points_30().reshape(-1))
    (tmp_path / "landmarks.csv").write_text(f"images/007/profile/01.jpg,{row}\n")
    [picture] = read_cfp(tmp_path)
    assert picture.group == "007"
    np.testing.assert_allclose(picture.faces[0, :3], [30, 70, 60])
    with pytest.raises(UserError, match=r"no .*landmarks\.csv"):
        read_cfp(tmp_path / "images")


def test_backgrounds(tmp_path):
    for name in ("b", "a"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((60, 80, 3), np.uint8))
    both = read_backgrounds(tmp_path, [], lambda paths, _: paths)
    assert [picture.group for picture in both] == ["a", "b"]
    (tmp_path / "c.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"c\.png does not decode"):
        read_backgrounds(tmp_path, [], lambda paths, _: paths)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in"):
        read_backgrounds(tmp_path / "empty", [], lambda paths, _: paths)
