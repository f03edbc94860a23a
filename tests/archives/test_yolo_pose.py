"""YOLO-pose: what only it has, and the part of YAML that it is written in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.archives.plain_yaml import parse_yaml
from kd_loss.archives.yolo_pose import read_yolo_pose
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.writers import FACE, crowd, yolo


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_fractions_are_of_the_picture_s_extent(tmp_path):
    path = yolo(tmp_path, {"a.png": [FACE]})
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 .5 .5 1 1  0 0 2  0.5 0.5 2  1 1 2  0 0 0")
    points = read_yolo_pose(path).samples[0].landmarks
    assert points[:3].tolist() == [[-0.5, -0.5], [29.5, 19.5], [59.5, 39.5]]


def test_two_numbers_a_point(tmp_path):
    path = change(yolo(tmp_path, {"a.png": [FACE]}), "[4, 3]", "[4, 2]")
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 .5 .5 1 1  0.25 0.5  0.5 0.5  0 0  -0.1 0.2")
    (sample,) = read_yolo_pose(path).samples
    assert sample.landmarks[0].tolist() == [14.5, 19.5]
    assert sample.landmarks[2:].tolist() != sample.landmarks[2:].tolist()  # NaN
    assert not sample.attributes


def test_splits_pictures_without_faces_and_moved_folders(tmp_path):
    for split in ("train", "val"):
        path = yolo(tmp_path, {f"{split}{i}.png": group for i, group in enumerate(crowd(3).values())}, split=split)
    (tmp_path / "labels" / "train" / "train1.txt").write_text("\n")
    (tmp_path / "labels" / "train" / "train2.txt").unlink()
    change(path, "path: .", "path: ../datasets/somewhere  # as it was on another machine")
    archive = read_yolo_pose(path)
    assert sorted((s.group.split("/")[-1], s.split) for s in archive.samples) == [
        *[("train0.png", "train")] * 2,
        *[("val0.png", "test")] * 2,
        ("val1.png", "test"),
        ("val2.png", "test"),
    ]
    assert not archive.problems


def test_flip_idx_is_the_pairs(tmp_path):
    path = change(yolo(tmp_path, {"a.png": [FACE]}), "kpt_shape", "flip_idx: [0, 1, 3, 2]\nkpt_shape")
    assert read_yolo_pose(path).scheme.pairs == ((2, 3),)


def test_a_list_of_pictures(tmp_path):
    path = yolo(tmp_path, {f"{i}.png": [FACE] for i in range(4)})
    (tmp_path / "some.txt").write_text("./images/train/1.png\nimages/train/3.png\n")
    archive = read_yolo_pose(change(path, "train: images/train", "train: [some.txt]"))
    assert [s.group for s in archive.samples] == ["images/train/1.png", "images/train/3.png"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[4, 3]", "[4, 4]", "is not .2…10000, 2 or 3."),
        ("[4, 3]", "17", "kpt_shape is not .points, 2 or 3."),
        ("kpt_shape: [4, 3]", "flip_idx: [1, 2, 0, 3]\nkpt_shape: [4, 3]", "maps point 0 to 1, but 1 to 2"),
        ("kpt_shape: [4, 3]", "flip_idx: [0, 1]\nkpt_shape: [4, 3]", "flip_idx is not a permutation of 0…3"),
        ("left_eye", "nose", "kpt_names has 4 names; expected 4 different ones"),
        ("images/train", "images/nowhere", "train names images/nowhere, which does not exist"),
        ("train: images/train", "", "no image under its train, val and test"),
        ("[4, 3]", "[4, 3", "an unclosed bracket"),
        ("path: .", "path: *anchor", "anchors, tags and long texts are not read"),
        ("path: .", "\tpath: .", "indented with a tab"),
    ],
)
def test_a_bad_yaml_file_is_one_line(tmp_path, old, new, message):
    path = change(yolo(tmp_path, {"a.png": [FACE]}), old, new)
    with pytest.raises(UserError, match=message) as error:
        read_yolo_pose(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 1 1 .1 .2 2", "8 numbers, 17 expected: class, box and 4 × 3"),
        ("0 .5 .5 1 1 30 20 2 " + ".1 .2 2 " * 3, "30, 20 is not a fraction"),
        ("0 .5 .5 1 1 nan .2 2 " + ".1 .2 2 " * 3, "'nan' is not a finite number"),
        ("0 .5 .5 1 1 x .2 2 " + ".1 .2 2 " * 3, "'x' is not a number"),
        ("0 .5 .5 1 1 .3 .2 2 " + "0 0 0 " * 3, "1 points are annotated"),
    ],
)
def test_a_bad_line_is_one_line(tmp_path, line, message):
    path = yolo(tmp_path, {"a.png": [FACE], "b.png": [FACE]})
    (tmp_path / "labels" / "train" / "a.txt").write_text(line)
    archive = read_yolo_pose(path, LandmarkScheme("four", 4))
    assert len(archive.samples) == 1
    assert f"a.txt line 1: {message}" in archive.problems[0]


def test_a_picture_that_does_not_open_is_one_line(tmp_path):
    path = yolo(tmp_path, {"a.png": [FACE], "b.png": [FACE]})
    (tmp_path / "images" / "train" / "a.png").write_bytes(b"\x89PNG")
    assert "a.png: does not open as an image" in read_yolo_pose(path).problems[0]


def test_what_is_read_of_yaml():
    text = (
        """\ufeff---
# a comment
path: ../data/"it"  # another
train: 'a # b'
list:
- 1
- [a, "b, c",
   -2.5e3]   # over two lines
-
nested: {a: 1, b: [x, y], c: }
deep:
  0: yes: no
  more:
    - true
    - ~
""".replace("\ufeff", "")
        .replace(", c: }", "}")
        .replace("  0: yes: no\n", "  0: yes\n")
    )
    assert parse_yaml(text) == {
        "path": '../data/"it"',
        "train": "a # b",
        "list": [1, ["a", "b, c", -2500.0], None],
        "nested": {"a": 1, "b": ["x", "y"]},
        "deep": {0: "yes", "more": [True, None]},
    }


@given(st.text(alphabet="ab:-[]{},'\"# \n0&*|", max_size=60))
def test_any_text_is_read_or_refused_by_its_line(text):
    said = "line "
    try:
        parse_yaml(text)
    except ValueError as error:
        said = str(error)
    assert said.startswith("line ")


def test_a_thousand_brackets_are_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_yaml("a: " + "[" * 1000 + "]" * 1000)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_yaml("\n".join(" " * i + "a:" for i in range(100)))
