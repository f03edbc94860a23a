import json
import logging

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.datasets import prepare as prepare_module
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import holdout, open_dataset, prepared_names
from kd_loss.imaging import geometry
from kd_loss.imaging.crop import crop_face
from kd_loss.schemes.pose import POSES
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256
from kd_loss.system.overwrite_guard import RECORD
from tests.archives.archives import write_w300, write_wflw

pytestmark = pytest.mark.quick

PARTS = {"afw": 4, "helen/testset": 1, "ibug": 1}


@pytest.fixture
def w300(tmp_path):
    prepare(read_w300(write_w300(tmp_path / "300W", PARTS)), tmp_path / "data" / "w300", size=64)
    return open_dataset("w300", tmp_path / "data")


def test_arrays_and_manifest(w300):
    train = w300.split("train")
    assert train.images.shape == (4, 96, 96, 3)  # a quarter of 64 pixels more on each side
    assert (train.size, train.border, train.crop(0).shape) == (64, 16, (64, 64, 3))
    assert isinstance(train.images, np.memmap)
    assert train.landmarks.dtype == np.float32
    assert w300.manifest["counts"] == {"train": {"afw": 4}, "test": {"helen/testset": 1, "ibug": 1}}
    for name, digest in w300.manifest["sha256"].items():
        assert sha256(w300.folder / name) == digest
    json.dumps(w300.manifest)


def test_the_landmark_box_fills_the_crop_up_to_its_margin(w300):
    landmarks = w300.split("train").landmarks
    # the longer side of the box is 1 / 1.3 of the crop, centred
    np.testing.assert_allclose(np.ptp(landmarks, axis=1).max(axis=1), 1 / 1.3, atol=1e-5)
    np.testing.assert_allclose((landmarks.max(axis=1) + landmarks.min(axis=1)) / 2, 0, atol=1e-5)


def test_landmarks_come_back_to_the_source_picture(w300, tmp_path):
    test = w300.split("test")
    truth = [s.landmarks for s in read_w300(tmp_path / "300W").samples if s.split == "test"]
    np.testing.assert_allclose(test.to_source(test.landmarks), truth, atol=0.01)


def test_a_crop_shows_the_pixel_that_its_landmark_names():
    # a white pixel at (37, 21) lies where the affine map says, at every scale
    image = np.zeros((80, 100, 3), np.uint8)
    image[19:24, 35:40] = 255
    for size in (16, 40, 120, 300):
        square = np.array([10.0, -5.0, 60.0])
        crop = crop_face(image, square, size).astype(float)[..., 0]
        y, x = (np.average(grid, weights=crop) for grid in np.mgrid[:size, :size])
        expected = geometry.apply(geometry.crop_affine(square, size), [[37, 21]])[0]
        np.testing.assert_allclose([x, y], expected, atol=0.35)


def test_a_large_picture_is_shrunk_without_aliasing():
    checker = np.indices((800, 800)).sum(axis=0) % 2 * 255
    crop = crop_face(np.stack([checker] * 3, -1).astype(np.uint8), np.array([0.0, 0.0, 800.0]), 100)
    assert crop[5:-5, 5:-5].std() < 8


def test_report_rows(w300, tmp_path):
    rows = w300.split("test").rows()
    assert {name: indices.tolist() for name, indices in rows.items()} == {
        "common": [0], "challenging": [1], "full": [0, 1]
    }  # fmt: skip
    prepare(read_wflw(write_wflw(tmp_path / "W")), tmp_path / "data" / "wflw", size=32)
    rows = open_dataset("wflw", tmp_path / "data").split("test").rows()
    assert rows["pose"].tolist() == [0]
    assert rows["occlusion"].tolist() == [0, 1]
    assert list(rows)[-1] == "full"


def test_one_bad_sample_is_listed_and_refused_and_nothing_is_written(tmp_path, caplog):
    root = write_w300(tmp_path / "300W", {"afw": 5})
    (root / "afw" / "1001_1.png").write_bytes(b"not an image")
    (root / "afw" / "1002_1.pts").write_text("1 1\n")
    caplog.set_level(logging.INFO, "kd_loss")
    with pytest.raises(UserError, match=r"2 bad of 5 samples .*--skip-bad"):
        prepare(read_w300(root), tmp_path / "data" / "w300", size=32)
    assert sum(line.startswith("bad:") for line in caplog.messages) == 2
    assert not list((tmp_path / "data").iterdir())


def test_bad_samples_are_skipped_on_demand(tmp_path):
    root = write_w300(tmp_path / "300W", {"afw": 6})
    good = prepare(read_w300(root), tmp_path / "a", size=32)
    (root / "afw" / "1001_1.png").write_bytes(b"not an image")
    manifest = prepare(read_w300(root), tmp_path / "b", size=32, skip_bad=True)
    assert (manifest["counts"], manifest["skipped"]) == ({"train": {"afw": 5}}, 1)
    assert good["skipped"] == 0
    images = [np.load(tmp_path / d / "train" / "images.npy") for d in "ab"]
    np.testing.assert_array_equal(images[1], np.delete(images[0], 1, axis=0))


def test_landmarks_outside_of_the_picture_are_kept_counted_and_reported(tmp_path, caplog):
    root = write_w300(tmp_path / "300W", {"afw": 4})
    pts = root / "afw" / "1000_1.pts"
    lines = pts.read_text().splitlines()
    lines[3] = "-20.0 30.0"
    pts.write_text("\n".join(lines))
    caplog.set_level(logging.INFO, "kd_loss")
    manifest = prepare(read_w300(root), tmp_path / "w300", size=32)
    assert manifest["landmarks_outside"] == 1
    assert any("1 face with landmarks outside" in line for line in caplog.messages)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    archive = read_w300(write_w300(tmp_path / "300W", {"afw": 4}))
    monkeypatch.setattr(prepare_module.np, "save", full)
    with pytest.raises(UserError, match="disk is full"):
        prepare(archive, tmp_path / "data" / "w300", size=32)
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(("options", "message"), [({"size": 3}, "--size 3"), ({"margin": -1}, "--margin -1")])
def test_senseless_options_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare(read_w300(write_w300(tmp_path / "300W", {"afw": 4})), tmp_path / "x", **options)


def test_an_unprepared_dataset_names_the_command(tmp_path):
    with pytest.raises(UserError, match="run: kd-loss prepare --dataset w300 --source /path/to/W300"):
        open_dataset("w300", tmp_path)
    with pytest.raises(UserError, match="run: kd-loss prepare --dataset synthetic$"):
        open_dataset("synthetic", tmp_path)
    with pytest.raises(UserError, match="did you mean 'w300'"):
        open_dataset("w3000", tmp_path)


def test_a_damaged_file_is_one_line(w300):
    file = w300.folder / "train" / "landmarks.npy"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"landmarks.npy is damaged \(EOF"):
        w300.split("train")


def test_unfinished_datasets_are_not_listed(w300):
    (w300.folder.parent / ".tmp-x-1").mkdir()
    (w300.folder.parent / ".tmp-x-1" / "manifest.json").write_text("{}")
    assert prepared_names(w300.folder.parent) == ["w300"]


def test_holding_out_keeps_photographs_together(synthetic):
    split = synthetic.split("train")
    object.__setattr__(split, "group", np.array([str(i // 2) for i in range(len(split))]))
    train, held = holdout(split, 0.2, 0)
    assert len(train) + len(held) == 40
    assert len(held) == 8
    assert not set(split.group[train]) & set(split.group[held])
    assert holdout(split, 0.2, 0)[1].tolist() == held.tolist()
    assert len(holdout(split, 0.0, 0)[1]) == 0


def test_too_few_faces_are_one_line_with_their_numbers(tmp_path):
    archive = read_w300(write_w300(tmp_path / "300W", {"afw": 2, "helen/testset": 1}))
    message = "2 training faces, 2 of them with all points, and 1 test face; soft landmarks need 3 .*: add photographs"
    with pytest.raises(UserError, match=message):
        prepare(archive, tmp_path / "data" / "w300", size=64)
    assert not (tmp_path / "data" / "w300").exists()


def test_test_faces_that_are_all_bad_leave_training_faces(tmp_path, caplog):
    root = write_w300(tmp_path / "300W", {"afw": 4, "ibug": 1})
    (root / "ibug" / "1004_1.png").write_bytes(b"x")
    caplog.set_level(logging.INFO, "kd_loss")
    manifest = prepare(read_w300(root), tmp_path / "data" / "w300", size=32, skip_bad=True)
    assert list(manifest["counts"]) == ["train"]
    assert "no valid test face remains" in caplog.messages
    with pytest.raises(UserError, match="has no 'test' faces"):
        open_dataset("w300", tmp_path / "data").split("test")


@given(
    size=st.tuples(st.integers(4, 300), st.integers(4, 300)),
    corner=st.tuples(st.floats(-200, 300), st.floats(-200, 300)),
    side=st.floats(20, 900),
)
@settings(max_examples=60, deadline=None)
def test_a_crop_needs_only_its_part_of_the_picture(size, corner, side):
    """What is cut from blocks around the square is what is cut from the whole picture made smaller."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    square = np.array([*corner, side])
    factor = min(int(side / 16), *size)
    if factor > 1:
        height, width = (n // factor for n in size)
        small = cv2.resize(image[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
        grow = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2]])
        affine = geometry.compose(geometry.crop_affine(square, 16), grow)
        whole = cv2.warpAffine(small, affine, (16, 16), flags=cv2.INTER_LINEAR)
    else:
        whole = cv2.warpAffine(image, geometry.crop_affine(square, 16), (16, 16), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop_face(image, square, 16), whole)


@pytest.mark.parametrize("kind", ["manifest", "file", "link", "note"])
def test_preparing_replaces_only_a_prepared_dataset(tmp_path, kind):
    """Another program's `manifest.json`, a file, a link to an empty folder, a note among the faces."""
    target = tmp_path / "synthetic"
    options = PrepareOptions(dataset="synthetic", count=4, size=32, data=tmp_path)
    if kind == "manifest":
        target.mkdir()
        (target / "manifest.json").write_text('{"name": "my web extension"}')
    elif kind == "file":
        target.write_text("mine")
    elif kind == "link":
        (tmp_path / "disk").mkdir()
        target.symlink_to(tmp_path / "disk")
    else:
        run_prepare(options)
        run_prepare(options)  # its own
        (target / "train" / "notes.txt").write_text("mine")
    before = {p.relative_to(tmp_path): p.is_file() and p.read_bytes() for p in sorted(tmp_path.rglob("*"))}
    with pytest.raises(UserError, match="already exists|holds train/notes.txt"):
        run_prepare(options)
    assert {p.relative_to(tmp_path): p.is_file() and p.read_bytes() for p in sorted(tmp_path.rglob("*"))} == before
    assert target.is_symlink() == (kind == "link")


def test_a_dataset_of_before_this_record_may_be_replaced(tmp_path):
    """Its manifest names its files."""
    options = PrepareOptions(dataset="synthetic", count=4, size=32, data=tmp_path)
    run_prepare(options)
    for name in (RECORD, "crops.png", "augmented.png"):  # there were no pictures, either
        (tmp_path / "synthetic" / name).unlink()
    assert run_prepare(options)["counts"]["train"] == {"train": 4}


def test_no_name_is_listed_twice(w300):
    with pytest.raises(UserError) as raised:
        open_dataset("nothing", w300.folder.parent)
    names = str(raised.value).partition("valid: ")[2].split(", ")
    landmarks = ["w300", "cofw", "wflw", "cfp30", "aflw", "synthetic", "synthetic_cofw", "synthetic_wflw"]
    assert names == [*landmarks, *POSES]
