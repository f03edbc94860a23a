"""The archive of WFLW."""

import numpy as np
import pytest

from kd_loss.archives.wflw import parse_line, read_wflw
from kd_loss.imaging.pictures import BadSample
from tests.archives.archives import counts, face, write_wflw

pytestmark = pytest.mark.quick


def test_wflw_landmarks_attributes_and_counts(tmp_path):
    archive = read_wflw(write_wflw(tmp_path))
    assert (counts(archive, "train"), counts(archive, "test")) == (4, 2)
    np.testing.assert_allclose(archive.samples[1].landmarks, face("wflw", 1)[1], atol=1e-5)
    assert archive.samples[0].attributes["pose"] == 1
    assert archive.samples[1].attributes["pose"] == 0
    assert "pose 1 of 326" in archive.warnings[0]


def test_wflw_lines():
    numbers = [str(i) for i in range(196)]
    landmarks, attributes, path = parse_line(" ".join([*numbers, "a/b.jpg"]))
    assert landmarks[1].tolist() == [2, 3]
    assert attributes.tolist() == [0] * 6
    assert path == "a/b.jpg"
    for line, message in [
        (" ".join(numbers[:99] + ["a.jpg"]), "100 columns, 207 or 197 expected"),
        (" ".join([*numbers[:-1], "x", "a.jpg"]), "not a number"),
        (" ".join([*numbers, "0", "0", "9", "9", "2", "0", "0", "0", "0", "0", "a.jpg"]), "neither 0 nor 1"),
    ]:
        with pytest.raises(BadSample, match=message):
            parse_line(line)


def test_wflw_bad_lines_and_paths_are_problems(tmp_path):
    root = write_wflw(tmp_path)
    file = root / "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"
    lines = file.read_text().splitlines()
    lines[1] = " ".join(lines[1].split()[:100])
    lines[2] = lines[2].replace("0--Parade/2.png", "../../secret.png")
    lines[3] = lines[3].replace("3.png", "33.png")
    file.write_text("\n".join(lines))
    archive = read_wflw(root)
    assert [text in p for p, text in zip(archive.problems, ("line 2: 100 columns", "leaves", "no image"), strict=True)]
    assert counts(archive, "train") == 1
