import dataclasses

import numpy as np
import pytest

from kd_loss.archives.synthetic import draw_archive
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.seen_faces import TRAINED_ON, face_prints, read_prints, seen_before, write_prints


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """The same 40 faces drawn smaller, of which 20 are for training and the next 5 for the test."""
    data = tmp_path_factory.mktemp("data")
    prepare(draw_archive("synthetic", 20, 32, 0.3, 0), data / "synthetic", size=32, margin=0.3)
    return open_dataset("synthetic", data)


def test_a_print_by_hand(synthetic):
    """A triangle in its box of side 1: (−½, −½), (½, −½), (½, 0), the fourth point not annotated."""
    points = np.array([[[2.0, 2.0], [4.0, 2.0], [4.0, 3.0], [np.nan, np.nan]]])
    points[..., 1] += 0.5  # anywhere
    split = dataclasses.replace(synthetic.split("train"), landmarks=points)
    shape = np.array([[-0.5, -0.25], [0.5, -0.25], [0.5, 0.25]])
    x, y = (shape - shape.mean(axis=0)).T
    expected = [*shape.mean(axis=0), *shape.std(axis=0), (x * y).mean(), (x * abs(y)).mean()]
    np.testing.assert_allclose(face_prints(split), [expected], atol=1e-7)
    points[0, 2] = np.nan
    assert np.isnan(face_prints(split)).all()
    assert not len(seen_before(face_prints(split), split))  # what is not known is not seen


def test_faces_are_known_again(synthetic, smaller, tmp_path):
    """By another size, margin and split; strangers are not."""
    write_prints(synthetic.split("train"), tmp_path)
    (tmp_path / "export").mkdir()
    for weights in (tmp_path / "best.h5", tmp_path / "export" / "best.onnx"):
        prints = read_prints(weights)
        assert prints.shape == (40, 6)
        assert seen_before(prints, smaller.split("train")).tolist() == list(range(20))
        assert seen_before(prints, smaller.split("test")).tolist() == list(range(5))
        assert not len(seen_before(prints, synthetic.split("test")))


def test_poses_are_known_again(tmp_path):
    for count in (12, 8):
        run_prepare(PrepareOptions(dataset="pose_synthetic", count=count, size=32, data=tmp_path / f"{count}"))
    first, again = (open_dataset("pose_synthetic", tmp_path / f"{count}") for count in (12, 8))
    assert seen_before(face_prints(first.split("train")), again.split("test")).tolist() == [0, 1]
    assert not len(seen_before(face_prints(again.split("train")), again.split("test")))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array"])
def test_a_damaged_file_yields_nothing(tmp_path, content):
    (tmp_path / TRAINED_ON).write_bytes(content)
    assert read_prints(tmp_path / "best.h5") is None
