"""What holds for every annotation tool: the same faces come back from each."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kd_loss.archives.formats import READERS, found_format
from kd_loss.datasets.command import FORMATS, PrepareOptions, run_prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.errors import UserError
from kd_loss.schemes.spec import DatasetSpec
from tests.archives.writers import FACE, HEIGHT, NAMES, WIDTH, WRITERS, crowd

TOOLS = sorted(READERS)


def by_picture(archive):
    """Points by picture, in the file's order."""
    found = {}
    for sample in archive.samples:
        found.setdefault(Path(sample.group).name, []).append(sample.landmarks)
    return found


@pytest.mark.parametrize("tool", TOOLS)
def test_several_faces_a_picture_come_back_with_names_and_without_a_scheme(tmp_path, tool):
    faces = crowd()
    source = WRITERS[tool](tmp_path, faces)
    assert found_format(source) == tool
    assert found_format(tmp_path) == tool
    archive = READERS[tool](source)
    assert not archive.problems
    assert archive.spec.points == 4
    order = [archive.spec.names.index(name) for name in NAMES]
    assert archive.spec.pairs == (tuple(sorted((order[1], order[2]))),)  # left_eye and right_eye
    found = by_picture(archive)
    for name, group in faces.items():
        np.testing.assert_allclose([points[order] for points in found[name]], group, atol=1e-9)
    assert archive.samples[0].load().shape == (HEIGHT, WIDTH, 3)
    assert {s.split for s in archive.samples} == {"train", "test"}
    sides = {}
    for sample in archive.samples:
        sides.setdefault(sample.group, set()).add(sample.split)
    assert all(len(split) == 1 for split in sides.values())


@pytest.mark.parametrize("tool", TOOLS)
def test_a_scheme_with_names_puts_the_points_in_its_order(tmp_path, tool):
    turned = DatasetSpec("mine", 4, names=NAMES[::-1])
    archive = READERS[tool](WRITERS[tool](tmp_path, {"a.png": [FACE], "b.png": [FACE]}), turned)
    np.testing.assert_allclose(archive.samples[0].landmarks, FACE[::-1], atol=1e-9)
    assert archive.spec is turned


@pytest.mark.parametrize("tool", TOOLS)
def test_points_that_are_not_labelled_are_nan_and_hidden_ones_flagged(tmp_path, tool):
    part = FACE.copy()
    part[3] = np.nan
    source = WRITERS[tool](tmp_path, {"a.png": [part], "b.png": [FACE]}, hidden=1)
    archive = READERS[tool](source, DatasetSpec("mine", 4, names=NAMES))
    np.testing.assert_allclose(archive.samples[0].landmarks, part, atol=1e-9)
    if tool == "label_studio":  # it knows no such flag
        assert not archive.samples[0].attributes
    else:
        assert archive.samples[0].attributes["occluded"].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=15)
@given(
    hnp.arrays(np.float64, (7, 2), elements=st.floats(-5, 65, allow_subnormal=False)).filter(
        lambda points: np.ptp(points, axis=0).max() > 2
    )
)
def test_coordinates_go_round(tool, points):
    with tempfile.TemporaryDirectory() as folder:
        # a face to the left of or above the picture cannot be told from a point without label in YOLO's way
        archive = READERS[tool](WRITERS[tool](Path(folder), {"a.png": [points]}))
    np.testing.assert_allclose(archive.samples[0].landmarks, points, atol=1e-9)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_missing_picture_is_one_line(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE], "b.png": [FACE]})
    (next(tmp_path.rglob("b.png"))).unlink()
    archive = READERS[tool](source)
    assert len(archive.samples) == 1
    if tool == "yolo_pose":  # its pictures are found, not named
        assert not archive.problems
    else:
        (problem,) = archive.problems
        assert "no image" in problem
        assert "b.png" in problem


@pytest.mark.parametrize("tool", TOOLS)
def test_a_scheme_of_other_points_is_one_line(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE]})
    with pytest.raises(UserError, match=r"has 4 points a face, the scheme 'five' 5") as error:
        READERS[tool](source, DatasetSpec("five", 5))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tool", ["coco", "cvat", "yolo_pose"])
def test_a_name_that_the_file_lacks_is_one_line(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE]})
    with pytest.raises(UserError, match="has no point 'ear' of 'mine'; it has nose"):
        READERS[tool](source, DatasetSpec("mine", 4, names=(*NAMES[:3], "ear")))


@pytest.mark.parametrize("tool", ["labelme", "label_studio"])
def test_a_label_that_the_scheme_lacks_is_a_problem(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE], "b.png": [FACE[:3]]})
    archive = READERS[tool](source, DatasetSpec("mine", 4, names=NAMES))
    (problem,) = archive.problems
    assert "no point of the scheme is called 'p0'" in problem


@pytest.mark.parametrize("tool", ["coco", "cvat", "label_studio", "labelme"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_breaks_off_is_one_line(tmp_path, tool, share):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE]})
    file = tmp_path / "a.json" if tool == "labelme" else source
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="breaks off") as error:
        READERS[tool](source)
    assert "\n" not in str(error.value)


def test_a_picture_of_another_size_than_was_annotated_is_told(tmp_path):
    import cv2

    from kd_loss.datasets.sample import BadSample

    archive = READERS["coco"](WRITERS["coco"](tmp_path, {"a.png": [FACE]}))
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((80, 120, 3), np.uint8))
    with pytest.raises(BadSample, match="is of 120 × 80 pixels, one of 60 × 40 was annotated"):
        archive.samples[0].load()


def test_pictures_are_found_by_their_name_alone_where_it_is_the_only_one(tmp_path):
    source = WRITERS["coco"](tmp_path / "notes", {"a.png": [FACE]})
    (tmp_path / "notes" / "images").rename(tmp_path / "notes" / "somewhere")
    assert not READERS["coco"](source).problems
    other = tmp_path / "notes" / "else" / "a.png"
    other.parent.mkdir()
    other.write_bytes(b"")
    assert "2 pictures are called a.png" in READERS["coco"](source).problems[0]


def test_a_source_that_is_a_folder_keeps_its_pictures_inside(tmp_path):
    root = tmp_path / "inside"
    WRITERS["coco"](root, {"../../out.png": [FACE], "a.png": [FACE]})
    archive = READERS["coco"](root)
    assert len(archive.samples) == 1
    assert "lies outside of" in archive.problems[0]


def test_prepare_makes_a_scheme_from_the_file_and_finds_pairs_that_nobody_named(tmp_path, capsys):
    """The eyes have no names here; the faces themselves say that they are each other's mirror images."""
    rng = np.random.default_rng(0)
    five = np.array([[20.0, 10], [40, 10], [30, 20], [22, 30], [38, 30]])
    faces = {f"f{i}.png": [five + rng.normal(0, 0.4, (5, 2))] for i in range(40)}
    source = WRITERS["cvat"](tmp_path / "pets", faces)
    run_prepare(PrepareOptions(source=str(source), size=32, data=tmp_path / "data"))
    dataset = open_dataset("pets", tmp_path / "data")
    assert dataset.spec.names == tuple(f"p{i}" for i in range(5))
    assert dataset.spec.pairs == ((0, 1), (3, 4))
    assert dataset.spec.edges == ((0, 1),)
    assert "2 pairs from 36 faces, sure" in " ".join(capsys.readouterr().err.split())
    manifest = dataset.manifest["spec"]
    assert DatasetSpec.from_dict(manifest) == dataset.spec


def test_the_names_of_the_command_are_those_of_the_readers():
    assert set(FORMATS) == {"auto", "folder", *READERS}


def test_a_json_file_of_no_format_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="of no format that is known: COCO keypoints, Label Studio or LabelMe"):
        run_prepare(PrepareOptions(dataset="a", source=str(tmp_path / "a.json"), data=tmp_path))


def test_a_format_that_is_named_and_is_not_there_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for tool in READERS:
        with pytest.raises(UserError) as error:
            run_prepare(PrepareOptions(dataset="a", source=str(tmp_path), format=tool, data=tmp_path / "data"))
        assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())
