"""What holds for every annotation tool: the same faces come back from each."""

import contextlib
import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kd_loss.archives.annotations import load_json
from kd_loss.archives.cvat import parse_xml
from kd_loss.archives.formats import READERS, found_format
from kd_loss.archives.pts import read_pts
from kd_loss.archives.registry import ArchiveRequest, read_archive
from kd_loss.datasets.prepare_command import FORMATS, PrepareOptions, run_prepare
from kd_loss.datasets.prepare_command import _with_others as with_others
from kd_loss.datasets.prepared import open_dataset
from kd_loss.imaging.pictures import BadSample
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.synthetic.faces import face_landmarks
from kd_loss.system.errors import UserError
from tests.archives.archives import write_w300
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
    assert archive.scheme.points == 4
    order = [archive.scheme.names.index(name) for name in NAMES]
    assert archive.scheme.pairs == (tuple(sorted((order[1], order[2]))),)  # left_eye and right_eye
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
    turned = LandmarkScheme("mine", 4, names=NAMES[::-1])
    archive = READERS[tool](WRITERS[tool](tmp_path, {"a.png": [FACE], "b.png": [FACE]}), turned)
    np.testing.assert_allclose(archive.samples[0].landmarks, FACE[::-1], atol=1e-9)
    assert archive.scheme is turned


@pytest.mark.parametrize("tool", TOOLS)
def test_points_that_are_not_labelled_are_nan_and_hidden_ones_flagged(tmp_path, tool):
    part = FACE.copy()
    part[3] = np.nan
    source = WRITERS[tool](tmp_path, {"a.png": [part], "b.png": [FACE]}, hidden=1)
    archive = READERS[tool](source, LandmarkScheme("mine", 4, names=NAMES))
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
    with pytest.raises(UserError, match=r"has 4 points a face, the scheme 'five' has 5") as error:
        READERS[tool](source, LandmarkScheme("five", 5))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tool", ["coco", "cvat", "yolo_pose"])
def test_a_name_that_the_file_lacks_is_one_line(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE]})
    with pytest.raises(UserError, match="has no point 'ear' of 'mine'; it has nose"):
        READERS[tool](source, LandmarkScheme("mine", 4, names=(*NAMES[:3], "ear")))


@pytest.mark.parametrize("tool", ["labelme", "label_studio"])
def test_a_label_that_the_scheme_lacks_is_a_problem(tmp_path, tool):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE], "b.png": [FACE[:3]]})
    archive = READERS[tool](source, LandmarkScheme("mine", 4, names=NAMES))
    (problem,) = archive.problems
    assert "no point of the scheme is named 'p0'" in problem


@pytest.mark.parametrize("tool", ["coco", "cvat", "label_studio", "labelme"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_breaks_off_is_one_line(tmp_path, tool, share):
    source = WRITERS[tool](tmp_path, {"a.png": [FACE]})
    file = tmp_path / "a.json" if tool == "labelme" else source
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="is truncated") as error:
        READERS[tool](source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=25)
@given(st.data())
def test_damaged_files_are_read_listed_or_refused_on_one_line(tool, data):
    """Bytes that are changed, cut out or repeated: never another exception than a `UserError`."""
    with tempfile.TemporaryDirectory() as folder:
        source = WRITERS[tool](Path(folder), {"a.png": [FACE, FACE], "b.png": [FACE]})
        files = {"labelme": Path(folder) / "a.json", "yolo_pose": Path(folder) / "labels" / "train" / "a.txt"}
        file = data.draw(st.sampled_from([files.get(tool, source), *([source] if tool == "yolo_pose" else [])]))
        text = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(text)))
            end = min(len(text), start + data.draw(st.integers(0, 12)))
            text[start:end] = data.draw(
                st.one_of(
                    st.binary(max_size=4),
                    st.sampled_from(
                        [b"null", b"[]", b"{}", b"NaN", b"-1", b"1e999", b"true", b'""', b"</image>", b"&a;"]
                    ),
                )
            )
        file.write_bytes(text)
        lines = []
        try:
            for scheme in (None, LandmarkScheme("mine", 4, names=NAMES)):
                lines += READERS[tool](source, scheme).problems
        except UserError as error:
            lines.append(str(error))
        assert not any("\n" in line for line in lines)


def test_a_picture_of_another_size_than_was_annotated_is_reported(tmp_path):
    import cv2

    from kd_loss.imaging.pictures import BadSample

    archive = READERS["coco"](WRITERS["coco"](tmp_path, {"a.png": [FACE]}))
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((80, 120, 3), np.uint8))
    with pytest.raises(BadSample, match="has 120 × 80 pixels, but the annotated one has 60 × 40"):
        archive.samples[0].load()


def test_pictures_are_found_by_their_name_alone_where_it_is_the_only_one(tmp_path):
    source = WRITERS["coco"](tmp_path / "notes", {"a.png": [FACE]})
    (tmp_path / "notes" / "images").rename(tmp_path / "notes" / "somewhere")
    assert not READERS["coco"](source).problems
    other = tmp_path / "notes" / "else" / "a.png"
    other.parent.mkdir()
    other.write_bytes(b"")
    assert "2 images are named a.png" in READERS["coco"](source).problems[0]


def test_a_source_that_is_a_folder_keeps_its_pictures_inside(tmp_path):
    root = tmp_path / "inside"
    WRITERS["coco"](root, {"../../out.png": [FACE], "a.png": [FACE]})
    archive = READERS["coco"](root)
    assert len(archive.samples) == 1
    assert "is outside" in archive.problems[0]


def test_prepare_makes_a_scheme_from_the_file_and_finds_its_pairs(tmp_path, caplog):
    """The eyes have no names here; the faces themselves say that they are each other's mirror images."""
    caplog.set_level(logging.INFO, "kd_loss")
    rng = np.random.default_rng(0)
    five = np.array([[20.0, 10], [40, 10], [30, 20], [22, 30], [38, 30]])
    faces = {f"f{i}.png": [five + rng.normal(0, 0.4, (5, 2))] for i in range(40)}
    source = WRITERS["cvat"](tmp_path / "pets", faces)
    run_prepare(PrepareOptions(source=str(source), size=32, data=tmp_path / "data"))
    dataset = open_dataset("pets", tmp_path / "data")
    assert dataset.scheme.names == tuple(f"p{i}" for i in range(5))
    assert dataset.scheme.pairs == ((0, 1), (3, 4))
    assert dataset.scheme.edges == ((0, 1),)
    said = " ".join(caplog.messages)
    assert "'pets', a scheme from the source: 5 points (p0, p1, p2, p3, p4), mirrored pairs unknown, 1 line" in said
    assert "2 pairs from 36 faces, sure" in said
    manifest = dataset.manifest["spec"]
    assert LandmarkScheme.from_dict(manifest) == dataset.scheme


def test_the_names_of_the_command_are_those_of_the_readers():
    assert set(FORMATS) == {"auto", "folder", *READERS}


def test_a_json_file_of_no_format_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="in none of the known formats: COCO keypoints, Label Studio or LabelMe"):
        run_prepare(PrepareOptions(dataset="a", source=str(tmp_path / "a.json"), data=tmp_path))


def test_a_source_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no such file or folder: nowhere.xml"):
        run_prepare(PrepareOptions(source="nowhere.xml", data=tmp_path))


def test_a_format_that_is_named_and_is_not_there_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("")
    for tool in READERS:
        with pytest.raises(UserError) as error:
            run_prepare(PrepareOptions(dataset="a", source=str(tmp_path), format=tool, data=tmp_path / "data"))
        assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_an_official_folder_is_read_as_such_whatever_else_lies_in_it(tmp_path):
    root = write_w300(tmp_path / "300W", {"afw": 2})
    WRITERS["coco"](root, {"a.png": [FACE]}, name="annotations/face_landmarks.json")
    assert found_format(root) == "coco"
    assert read_archive(W300, ArchiveRequest(source=str(root))).scheme is W300
    plain = tmp_path / "plain"
    WRITERS["coco"](plain, {"a.png": [FACE]}, name="annotations/a.json")
    (plain / "train").mkdir()
    (plain / "train" / "a.npy").write_bytes(b"")
    assert found_format(plain) is None


def test_a_benchmark_s_points_from_an_annotation_tool(tmp_path):
    faces = {f"{i}.png": [face_landmarks("w300", 40, 0, i)] for i in range(4)}
    source = WRITERS["coco"](tmp_path, faces)
    archive = read_archive(W300, ArchiveRequest(source=str(source)))
    assert archive.scheme is W300
    np.testing.assert_allclose(archive.samples[2].landmarks, faces["2.png"][0], atol=1e-9)
    scheme = tmp_path / "mine.json"
    scheme.write_text(json.dumps({"name": "mine", "points": 68, "same": {"w300": list(range(68))}}))
    options = PrepareOptions(dataset="w300", source=str(source), extra_data=[f"{scheme}={source}"], format="coco")
    assert len(with_others(archive, options).samples) == 8


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["data.yaml", "other.yml", "annotations.xml", "a.json", "landmarks.csv"])
def test_a_pipe_in_an_archive_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for source in (tmp_path, tmp_path / name):
        with contextlib.suppress(UserError):
            READERS[found_format(source) or "coco"](source)


def test_files_that_are_too_large_are_one_line(tmp_path):
    for name, read in (("a.json", load_json), ("a.xml", parse_xml), ("a.pts", lambda path: read_pts(path, 68))):
        with (tmp_path / name).open("wb") as file:
            file.truncate((1 << 30) + 1)  # sparse
        with pytest.raises((UserError, BadSample), match=r"is larger than 1,0\d\d(,\d\d\d)? KiB$"):
            read(tmp_path / name)
