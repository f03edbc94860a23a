"""COCO keypoints: what only they have."""

import json

import numpy as np
import pytest

from kd_loss.archives.coco import read_coco
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.writers import FACE, NAMES, coco, crowd


def change(path, what):
    values = json.loads(path.read_text())
    what(values)
    path.write_text(json.dumps(values))
    return path


def test_coordinates_are_those_of_the_file(tmp_path):
    archive = read_coco(coco(tmp_path, {"a.png": [FACE]}))
    assert archive.samples[0].landmarks.tolist() == FACE.tolist()
    assert archive.scheme.edges == ((0, 1), (0, 2))  # [1, 2], [1, 3] in the file
    assert archive.scheme.names == NAMES


def test_a_skeleton_that_begins_at_0_is_seen(tmp_path):
    path = change(coco(tmp_path, {"a.png": [FACE]}), lambda v: v["categories"][0].update(skeleton=[[0, 1], [3, 3]]))
    assert read_coco(path).scheme.edges == ((0, 1),)


def test_without_a_2_in_the_file_1_means_labelled(tmp_path):
    path = coco(tmp_path, {"a.png": [FACE]})
    flags = slice(2, None, 3)
    change(path, lambda v: v["annotations"][0]["keypoints"].__setitem__(flags, [1, 1, 1, 0]))
    (sample,) = read_coco(path).samples
    assert not sample.attributes
    assert np.isnan(sample.landmarks[3]).all()


def test_crowds_and_annotations_without_points_are_passed_over(tmp_path):
    path = coco(tmp_path, {"a.png": [FACE, FACE, FACE, FACE]})

    def what(values):
        values["annotations"][0]["iscrowd"] = 1
        del values["annotations"][1]["keypoints"]
        values["annotations"][2]["keypoints"] = [0] * 12

    archive = read_coco(change(path, what))
    assert len(archive.samples) == 1
    assert not archive.problems


def test_a_folder_with_a_file_for_each_split(tmp_path):
    for name, count in (("train2017", 6), ("val2017", 3)):
        faces = {f"{name}_{i}.png": group for i, group in enumerate(crowd(count).values())}
        coco(tmp_path, faces, name=f"annotations/person_keypoints_{name}.json")
        (tmp_path / "images" / name).mkdir(parents=True)
        for picture in faces:
            (tmp_path / "images" / picture).rename(tmp_path / "images" / name / picture)
    archive = read_coco(tmp_path)
    assert not archive.problems
    splits = {s.group.split("/")[1]: s.split for s in archive.samples}
    assert splits == {"train2017": "train", "val2017": "test"}


def test_train_validation_and_test_are_two_splits_with_a_word_about_it(tmp_path):
    for split in ("train", "val", "test"):
        coco(tmp_path, {f"{split}/a.png": [FACE]}, name=f"{split}.json")
    archive = read_coco(tmp_path)
    splits = {s.group.split("/")[1]: s.split for s in archive.samples}
    assert splits == {"train": "train", "val": "train", "test": "test"}
    assert "for validation join those for training" in archive.warnings[0]


def test_categories_without_names_of_points(tmp_path):
    path = change(coco(tmp_path, crowd()), lambda v: v["categories"][0].update(keypoints=[], skeleton=[]))
    archive = read_coco(path, LandmarkScheme("four", 4))
    assert len(archive.samples) == 15
    assert read_coco(path).scheme.names == ()


def test_of_several_kinds_of_objects_the_scheme_chooses(tmp_path):
    hand = {"id": 8, "name": "hand", "keypoints": ["thumb", "ring"]}
    path = change(coco(tmp_path, {"a.png": [FACE]}), lambda v: v["categories"].append(hand))
    assert len(read_coco(path, LandmarkScheme("four", 4)).samples) == 1
    with pytest.raises(UserError, match=r"several kinds of objects: face \(4 points\), hand \(2 points\)"):
        read_coco(path)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        ([1, 2, 2] * 3, "3 points, 4 expected"),
        ([1, 2, 2, 3], "keypoints are not x, y, v of each point"),
        ("text", "keypoints are not x, y, v of each point"),
        ([1, 2, 2] * 3 + [float("nan"), 2, 2], "a coordinate is not a finite number"),
        ([1, 2, 2] * 3 + [float("inf"), 2, 2], "a coordinate is not a finite number"),
        ([1, 2, 2] * 3 + ["x", 2, 2], "a coordinate is not a number"),
        ([1, 2, 2] * 3 + [True, 2, 2], "a coordinate is not a number"),
        ([1, 2, 2] * 3 + [5, 2, None], "a visibility is not a number"),
        ([1, 2, 2] * 4, "all points lie within one pixel"),
        ([1, 2, 2] + [0] * 9, "1 points are annotated, at least 2"),
        ([1, 2, 2] * 3 + [10**400, 2, 2], "a coordinate is not a number"),
    ],
)
def test_a_bad_annotation_is_one_line(tmp_path, keypoints, message):
    path = coco(tmp_path, {"a.png": [FACE, FACE]})
    archive = read_coco(change(path, lambda v: v["annotations"][1].update(keypoints=keypoints)))
    assert len(archive.samples) == 1
    (problem,) = archive.problems
    assert "annotation 2: " + message in problem


@pytest.mark.parametrize("entry", [None, 3, [], {"keypoints": [1, 2, 2] * 4, "image_id": {}, "category_id": 7}])
def test_an_entry_that_is_none_is_one_line_or_nothing(tmp_path, entry):
    archive = read_coco(change(coco(tmp_path, {"a.png": [FACE]}), lambda v: v["annotations"].append(entry)))
    assert len(archive.samples) == 1
    assert len(archive.problems) == 1


def test_names_that_come_twice_are_one_line(tmp_path):
    path = change(coco(tmp_path, {"a.png": [FACE]}), lambda v: v["categories"][0].update(keypoints=list("aabc")))
    with pytest.raises(UserError, match="two keypoints share the name 'a'"):
        read_coco(path)
