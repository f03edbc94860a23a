"""The archive of 300W."""

import shutil

import numpy as np
import pytest

from kd_loss.archives.w300 import read_w300
from tests.archives.archives import counts, face, write_w300

pytestmark = pytest.mark.quick


def test_w300_splits_and_subsets(tmp_path):
    parts = {"afw": 2, "helen/trainset": 1, "lfpw/trainset": 1, "helen/testset": 1, "lfpw/testset": 1, "ibug": 2}
    archive = read_w300(write_w300(tmp_path, parts))
    assert (counts(archive, "train"), counts(archive, "test")) == (4, 4)
    assert {s.subset for s in archive.samples if s.split == "test"} == {"helen/testset", "lfpw/testset", "ibug"}
    image, points = face("w300", 0)
    np.testing.assert_allclose(archive.samples[0].landmarks, points, atol=1e-5)
    np.testing.assert_array_equal(archive.samples[0].load(), image)


def test_w300_missing_parts_are_named_in_one_warning(tmp_path):
    archive = read_w300(write_w300(tmp_path, {"afw": 2}))
    assert len(archive.warnings) == 1
    for text in ("afw 2 of 337", "ibug 0 of 135", "helen/trainset 0 of 2000"):
        assert text in archive.warnings[0]


def test_two_faces_of_one_photograph_share_a_group(tmp_path):
    root = write_w300(tmp_path, {"afw": 1})
    for suffix in ("png", "pts"):
        shutil.copy(root / "afw" / f"1000_1.{suffix}", root / "afw" / f"1000_2.{suffix}")
    a, b = read_w300(root).samples
    assert a.group == b.group


def test_w300_lone_files_and_bad_points_are_problems(tmp_path):
    root = write_w300(tmp_path, {"afw": 3})
    (root / "afw" / "1000_1.png").unlink()
    (root / "afw" / "1001_1.pts").unlink()
    (root / "afw" / "1002_1.pts").write_text("1 2\n3 4\n")
    problems = "\n".join(read_w300(root).problems)
    for text in ("1000_1.pts: no image", "1001_1.png: no .pts", "1002_1.pts: 2 points, 68 expected"):
        assert text in problems
