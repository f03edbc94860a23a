"""A folder of one's own: .npy, .pts or one .csv."""

import json
import os

import cv2
import numpy as np
import pytest

from kd_loss.archives.folder import read_folder
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.archives import counts, face, write_image

pytestmark = pytest.mark.quick

FIVE = LandmarkScheme("five", 5, pairs=((0, 1),), normalisers={"eyes": ((0,), (1,))})


def write_npy_folder(root, count=4, shape=(136,)):
    for index in range(count):
        image, points = face("w300", index)
        write_image(root / f"img{index}.jpg", image)
        np.save(root / f"img{index}.npy", points.reshape(shape))
    return root


@pytest.mark.parametrize("shape", [(136,), (68, 2)])
def test_a_folder_of_npy_files(tmp_path, shape):
    archive = read_folder(write_npy_folder(tmp_path, shape=shape), W300, 0.25)
    assert (counts(archive, "train"), counts(archive, "test")) == (3, 1)
    np.testing.assert_allclose(archive.samples[2].landmarks, face("w300", 2)[1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(10), "normalised|5 points"),
        (np.linspace(-0.5, 0.5, 136), "normalised values; expected pixel coordinates"),
        (np.full(136, np.nan), "0 points are annotated"),
        (np.r_[np.nan, np.arange(135.0)], "not a finite"),
        (np.array(["a"] * 136), "not numbers"),
        (np.arange(134.0), "67 points, 68 expected"),
    ],
)
def test_a_bad_npy_file_is_a_problem(tmp_path, array, message):
    root = write_npy_folder(tmp_path)
    np.save(root / "img1.npy", array)
    (problem,) = read_folder(root, W300).problems
    assert any(text in problem for text in message.split("|"))


def test_a_pickled_npy_file_is_not_loaded(tmp_path):
    root = write_npy_folder(tmp_path)
    np.save(root / "img1.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "not a .npy array of landmarks" in read_folder(root, W300).problems[0]


def test_own_landmarks_in_one_csv_keep_a_photograph_in_one_split(tmp_path):
    rows = ["file,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4"]
    for index in range(6):
        write_image(tmp_path / f"p{index}.png", face("w300", index)[0])
        for shift in (0, 3):
            numbers = ",".join(str(v + shift) for v in (30, 30, 80, 30, 55, 60, 40, 90, 70, 90))
            rows.append(f"p{index}.png,{numbers}")
    (tmp_path / "points.csv").write_text("\n".join(rows))
    archive = read_folder(tmp_path, FIVE, 0.3)
    assert len(archive.samples) == 12
    splits = {}
    for sample in archive.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(found) == 1 for found in splits.values())
    assert counts(archive, "test") == 4


def test_own_splits_are_kept(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        write_npy_folder(tmp_path / split, count) if (tmp_path / split).mkdir() is None else None
    archive = read_folder(tmp_path, W300)
    assert (counts(archive, "train"), counts(archive, "test")) == (3, 1)


def test_own_spec_file(tmp_path):
    file = tmp_path / "five.json"
    file.write_text(json.dumps(FIVE.to_dict()))
    assert LandmarkScheme.from_json(file).flip_index.tolist() == [1, 0, 2, 3, 4]


def test_one_annotation_cannot_be_for_two_pictures(tmp_path):
    root = write_npy_folder(tmp_path)
    write_image(root / "img1.png", face("w300", 1)[0])
    (problem,) = read_folder(root, W300).problems
    assert "one .npy file cannot serve both" in problem


def test_pictures_of_own_data_with_numbered_names_are_different_photographs(tmp_path):
    for index in range(6):
        image, points = face("w300", index)
        write_image(tmp_path / f"cat_{index:02d}.png", image)
        np.save(tmp_path / f"cat_{index:02d}.npy", points)
    archive = read_folder(tmp_path, W300, 0.34)
    assert len({s.group for s in archive.samples}) == 6
    assert counts(archive, "test") == 2


def test_blank_lines_in_a_csv_are_skipped_and_a_bad_first_row_is_reported(tmp_path):
    write_image(tmp_path / "p.png", face("w300", 0)[0])
    good = "p.png," + ",".join(map(str, (30, 30, 80, 30, 55, 60, 40, 90, 70, 90)))
    (tmp_path / "points.csv").write_text(f"{good.replace('30', 'x', 1)}\n\n{good}\n , \n{good}\n")
    archive = read_folder(tmp_path, FIVE)
    assert len(archive.samples) == 2
    assert ["row 1: a cell is not a number" in p for p in archive.problems] == [True]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rest", b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[[[[", b"\x93NUMPY"])
def test_a_damaged_npy_file_is_a_problem(tmp_path, data):
    root = write_npy_folder(tmp_path)
    (root / "img1.npy").write_bytes(data)
    assert "not a .npy array of landmarks" in read_folder(root, W300).problems[0]


def csv_row(name, points=4):
    return ",".join([str(name), *(str(10 + 7 * i % 31) for i in range(2 * points))])


FOUR = LandmarkScheme("four", 4)


def write_table(folder, *rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "points.csv").write_text("\n".join(rows))


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((50, 50, 3), np.uint8))
    return path


def test_paths_of_a_csv_may_lie_anywhere_under_the_source(tmp_path):
    root = tmp_path / "source"
    inside = [picture(root / "a.png"), picture(root / "more" / "b.png"), picture(root / "c.png")]
    outside = picture(tmp_path / "d.png")
    rows = [inside[0], "./more/b.png", "more/../c.png", outside, "../d.png", "x" * 5000]
    write_table(root, *(csv_row(row) for row in rows))
    archive = read_folder(root, FOUR)
    assert [sample.group for sample in archive.samples] == ["a.png", "more/b.png", "c.png"]
    assert archive.samples[2].load().shape == (50, 50, 3)
    assert [problem.partition(": ")[0].rpartition(" ")[2] for problem in archive.problems] == ["4", "5", "6"]
    assert f"the image {outside} is outside {root}" in archive.problems[1]


def test_a_csv_that_is_named_itself_has_its_pictures_anywhere(tmp_path):
    beside, elsewhere = picture(tmp_path / "tables" / "a.png"), picture(tmp_path / "pictures" / "b.png")
    rows = ["a.png", beside, "../pictures/b.png", elsewhere, "c.png"]
    write_table(tmp_path / "tables", *(csv_row(row) for row in rows))
    (tmp_path / "tables" / "other.csv").write_text("not read")
    archive = read_folder(tmp_path / "tables" / "points.csv", FOUR)
    assert [sample.group for sample in archive.samples] == ["a.png", "a.png", str(elsewhere), str(elsewhere)]
    assert archive.samples[3].load().shape == (50, 50, 3)
    assert len(archive.problems) == 1
    assert "row 5: no image" in archive.problems[0]


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("image,x0,y0,x1,y1,x2,y2,x3,y3", True),
        ("0,1,2,3,4,5,6,7,8", False),  # no picture "0", and not pandas' own row of 0…7
        ("name,0,1,2,3,4,5,6,7", True),
        ("lost.png,x,y,x,y,x,y,x,y", False),
        ("name,1,2,3,oops,5,6,7,8", False),
    ],
)
def test_what_is_a_header(tmp_path, first, header):
    picture(tmp_path / "a.png")
    write_table(tmp_path, first, csv_row("a.png"))
    archive = read_folder(tmp_path, FOUR)
    assert len(archive.samples) == 1
    assert len(archive.problems) == (not header)


@pytest.mark.parametrize("name", ["a.pts", "a.npy", "points.csv"])
def test_a_pipe_among_the_annotations_is_named(tmp_path, name):
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / name)
    if name == "points.csv":
        with pytest.raises(UserError, match="points.csv is not a regular file"):
            read_folder(tmp_path, FOUR)
    else:
        assert f"{name}: is not" in read_folder(tmp_path, FOUR).problems[0]
