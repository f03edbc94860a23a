"""CVAT for images: what only it has."""

import re

import numpy as np
import pytest

from kd_loss.archives.cvat import read_cvat
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.writers import FACE, NAMES, cvat, pictures

BOMB = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FETCH = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'


def test_order_and_lines_are_those_of_the_labels(tmp_path):
    archive = read_cvat(cvat(tmp_path, {"a.png": [FACE]}))
    assert archive.scheme.names == NAMES
    assert archive.scheme.edges == ((0, 1),)
    np.testing.assert_allclose(archive.samples[0].landmarks, FACE, atol=1e-9)


def test_the_first_pixel_s_centre_is_at_a_half_in_the_file(tmp_path):
    path = cvat(tmp_path, {"a.png": [FACE]})
    assert 'points="30.5,20.5"' in path.read_text()  # the nose, at 30, 20
    assert read_cvat(path).samples[0].landmarks[0].tolist() == [30, 20]


@pytest.mark.parametrize("head", [BOMB, FETCH, "<!DOCTYPE annotations>"])
def test_entities_are_never_expanded(tmp_path, head):
    path = cvat(tmp_path, {"a.png": [FACE]})
    path.write_text(path.read_text().replace("<annotations>", f"{head}<annotations>").replace(">1.1<", ">&b;<"))
    with pytest.raises(UserError, match="declares a document type or entities"):
        read_cvat(path)


def test_entities_in_the_drawing_of_a_skeleton_are_not_expanded(tmp_path):
    path = cvat(tmp_path, {"a.png": [FACE]})
    bomb = BOMB.replace("<", "&lt;").replace(">", "&gt;").replace("&a;", "&amp;a;")
    path.write_text(path.read_text().replace("<svg>", f"<svg>{bomb}"))
    assert read_cvat(path).scheme.edges == ()


def points(root, text):
    pictures(root, {name: [] for name in re.findall(r'name="([^"]*)"', text)})
    path = root / "annotations.xml"
    path.write_text(f"<annotations>{text}</annotations>")
    return path


def test_a_shape_of_several_points_is_a_face_without_names(tmp_path):
    text = '<image name="a.png"><points label="face" occluded="1" points="1,2;30,4;5,6"/></image>'
    archive = read_cvat(points(tmp_path, text))
    assert archive.samples[0].landmarks.tolist() == [[0.5, 1.5], [29.5, 3.5], [4.5, 5.5]]
    assert archive.samples[0].attributes["occluded"].tolist() == [1, 1, 1]
    assert archive.scheme.names == ()


def test_single_points_are_put_together_by_group(tmp_path):
    shapes = "".join(
        f'<points label="p{i}" group_id="{g}" points="{10 * i + g + 0.5},{20.5}"/>' for g in (1, 2) for i in (2, 10)
    )
    archive = read_cvat(points(tmp_path, f'<image name="a.png">{shapes}</image>'))
    assert archive.scheme.names == ("p2", "p10")
    assert [s.landmarks[:, 0].tolist() for s in archive.samples] == [[21, 101], [22, 102]]


def test_single_points_of_two_faces_without_groups_are_one_line(tmp_path):
    shapes = '<points label="a" points="1,1"/><points label="b" points="9,9"/><points label="a" points="5,5"/>'
    archive = read_cvat(points(tmp_path, f'<image name="a.png">{shapes}</image>'), LandmarkScheme("two", 2))
    assert "point 'a' appears twice" in archive.problems[0]


def test_the_subset_of_a_project_is_the_split(tmp_path):
    path = cvat(tmp_path, {f"{i}.png": [FACE] for i in range(4)}, subset="Train")
    text = path.read_text()
    path.write_text(text.replace('subset="Train"', 'subset="Validation"', 1))
    splits = {s.group.split("/")[-1]: s.split for s in read_cvat(path).samples}
    assert splits == {"0.png": "test", "1.png": "train", "2.png": "train", "3.png": "train"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('points="30.5,20.5"', 'points="30.5"', "'30.5' is not x,y"),
        ('points="30.5,20.5"', 'points="nan,1"', "a coordinate is not a finite number"),
        ('points="30.5,20.5"', 'points="1e999,1"', "a coordinate is not a finite number"),
        ('points="30.5,20.5"', "", "is not x,y"),
        ('name="a.png"', "", "the image has no name"),
        ('label="nose"', 'label="chin"', "point 'chin' appears twice"),
    ],
)
def test_a_bad_shape_is_one_line(tmp_path, old, new, message):
    path = cvat(tmp_path, {"a.png": [FACE], "b.png": [FACE]})
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    archive = read_cvat(path)
    assert len(archive.samples) == 1
    assert message in archive.problems[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<dataset/>", "root element is <dataset>"),
        ("<annotations><track id='0'/></annotations>", "export the task again as 'CVAT for images'"),
        ("<annotations/>", "no annotated point in"),
        ("", "is not XML"),
        ("not xml", "is not XML"),
        ("<a>" * 100_000, "is not XML, or is truncated"),
    ],
)
def test_other_files_are_one_line(tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_cvat(path)
    assert "\n" not in str(error.value)
