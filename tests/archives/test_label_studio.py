"""Label Studio: what only it has."""

import json

import numpy as np
import pytest

from kd_loss.archives.label_studio import read_label_studio
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.writers import FACE, HEIGHT, NAMES, WIDTH, label_studio, pictures


def change(path, what):
    values = json.loads(path.read_text())
    what(values)
    path.write_text(json.dumps(values))
    return path


def test_percentages_are_of_the_picture_s_extent(tmp_path):
    def what(tasks):  # the picture's left upper corner, and its middle
        values = [region["value"] for region in tasks[0]["annotations"][1]["result"]]
        values[0].update(x=0, y=0)
        values[1].update(x=50, y=50)

    (sample,) = read_label_studio(change(label_studio(tmp_path, {"a.png": [FACE]}), what)).samples
    assert sample.landmarks[:2].tolist() == [[-0.5, -0.5], [29.5, 19.5]]


def test_labels_that_come_twice_go_to_the_rectangle_about_them(tmp_path):
    def what(tasks):
        result = tasks[0]["annotations"][1]["result"]
        for region in result:
            del region["parentID"]
        for number, left in enumerate((0, 50)):
            value = {"x": left, "y": 0, "width": 50, "height": 100, "rectanglelabels": ["face"]}
            result.append({"id": f"b{number}", "type": "rectanglelabels", "value": value})

    faces = [FACE * 0.5, FACE * 0.5 + [30, 0]]
    archive = read_label_studio(change(label_studio(tmp_path, {"a.png": faces}), what))
    np.testing.assert_allclose([s.landmarks for s in archive.samples], faces, atol=1e-9)


def test_labels_that_come_twice_without_a_parent_are_one_line(tmp_path):
    def what(tasks):
        for region in tasks[0]["annotations"][1]["result"]:
            del region["parentID"]

    path = change(label_studio(tmp_path, {"a.png": [FACE, FACE], "b.png": [FACE]}), what)
    archive = read_label_studio(path)
    assert len(archive.samples) == 1
    assert (
        "task 10: point 'nose' appears twice; draw a rectangle around each face and make it the parent of its points"
        in archive.problems[0]
    )


def test_the_minimal_export(tmp_path):
    pictures(tmp_path, {"a.png": []})
    sides = {"original_width": WIDTH, "original_height": HEIGHT}
    points = [{"x": 25, "y": 50, "width": 1, "keypointlabels": ["a"], **sides}]
    points.append({"x": 75, "y": 50, "width": 1, "keypointlabels": ["b"], **sides})
    (tmp_path / "min.json").write_text(json.dumps([{"image": "/data/upload/a.png", "id": 1, "kp": points}]))
    (sample,) = read_label_studio(tmp_path / "min.json").samples
    assert sample.landmarks.tolist() == [[14.5, 19.5], [44.5, 19.5]]


def test_a_scheme_without_names_takes_the_order_of_the_file(tmp_path):
    archive = read_label_studio(label_studio(tmp_path, {"a.png": [FACE]}), LandmarkScheme("four", 4))
    assert f"are taken as {', '.join(NAMES)}" in archive.warnings[0]


def test_numbered_labels_come_by_their_numbers(tmp_path):
    points = np.column_stack([np.arange(12.0) * 4, np.arange(12.0) % 5])
    path = label_studio(tmp_path, {"a.png": [points[::-1]]})
    text = path.read_text()
    for index in range(12):
        text = text.replace(f'"p{index}"', f'"q{11 - index}"')
    path.write_text(text)
    np.testing.assert_allclose(read_label_studio(path).samples[0].landmarks, points, atol=1e-9)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda region: region.update(image_rotation=90), "the image was rotated in the tool"),
        (lambda region: region.pop("original_width"), "the image's size is not a number"),
        (lambda region: region["value"].update(x=float("nan")), "a coordinate is not a finite number"),
        (lambda region: region["value"].update(y=None), "a coordinate is not a number"),
        (lambda region: region["value"].update(keypointlabels=["a", "b"]), "a point must have exactly one label"),
    ],
)
def test_a_bad_point_is_one_line(tmp_path, what, message):
    path = label_studio(tmp_path, {"a.png": [FACE], "b.png": [FACE]})
    archive = read_label_studio(change(path, lambda tasks: what(tasks[0]["annotations"][1]["result"][0])))
    assert len(archive.samples) == 1
    assert message in archive.problems[0]


@pytest.mark.parametrize("text", ["{}", "[]", "3", '["a"]', "null"])
def test_other_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="is not a Label Studio export: expected a list of tasks"):
        read_label_studio(tmp_path / "a.json")
