"""LabelMe: what only it has."""

import base64
import json

import cv2
import numpy as np
import pytest

from kd_loss.archives.labelme import read_labelme
from kd_loss.imaging.pictures import BadSample
from tests.archives.writers import FACE, HEIGHT, WIDTH, labelme


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_first_pixel_s_centre_is_at_a_half_in_the_file(tmp_path):
    labelme(tmp_path, {"a.png": [FACE]})
    assert json.loads((tmp_path / "a.json").read_text())["shapes"][0]["points"] == [[30.5, 20.5]]
    assert read_labelme(tmp_path / "a.json").samples[0].landmarks[0].tolist() == [30, 20]


def test_a_picture_inside_of_the_file_is_taken_where_there_is_no_other(tmp_path):
    labelme(tmp_path, {"a.png": [FACE]})
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    (tmp_path / "a.png").unlink()
    change(tmp_path / "a.json", imageData=data)
    (sample,) = read_labelme(tmp_path).samples
    assert sample.load().shape == (HEIGHT, WIDTH, 3)
    for bad in ("!", "aGFsbG8=", ["a"]):
        change(tmp_path / "a.json", imageData=bad)
        with pytest.raises(BadSample, match="is not an image|does not decode"):
            sample.load()


def test_folders_are_splits(tmp_path):
    labelme(tmp_path, {f"{split}/{i}.png": [FACE] for split in ("train", "test") for i in range(2)})
    splits = {s.group.split("/")[0]: s.split for s in read_labelme(tmp_path).samples}
    assert splits == {"train": "train", "test": "test"}


def test_other_shapes_are_passed_over_and_several_points_are_a_face(tmp_path):
    labelme(tmp_path, {"a.png": [FACE]})
    shapes = [
        {"label": "box", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"},
        {"label": "face", "points": [[1.5, 2.5], [9.5, 8.5], [4, 4]], "shape_type": "points"},
    ]
    change(tmp_path / "a.json", shapes=shapes)
    (sample,) = read_labelme(tmp_path).samples
    assert sample.landmarks.tolist() == [[1, 2], [9, 8], [3.5, 3.5]]


def test_one_bad_file_of_several_is_one_line(tmp_path):
    labelme(tmp_path, {f"{i}.png": [FACE] for i in range(5)})
    (tmp_path / "0.json").write_text('{"shapes": [')
    bad = json.loads((tmp_path / "1.json").read_text())["shapes"]
    bad[0]["points"] = [[float("nan"), 1]]
    change(tmp_path / "1.json", shapes=bad)
    change(tmp_path / "2.json", shapes=[*bad[1:], bad[1]])
    change(tmp_path / "3.json", shapes=[{"shape_type": "point", "label": "nose", "points": []}])
    archive = read_labelme(tmp_path)
    assert len(archive.samples) == 1
    for problem, text in zip(
        archive.problems,
        ["is not JSON, or is truncated", "not a finite number", "'left_eye' appears twice", "shape 1 has no points"],
        strict=True,
    ):
        assert text in problem
        assert "\n" not in problem


def test_a_photograph_that_the_camera_turned_is_read_as_it_is_shown(tmp_path):
    """LabelMe shows pictures upright: a stored one of 40 × 60 with orientation 6 is annotated at 60 × 40."""
    from PIL import Image

    labelme(tmp_path, {"a.jpg": [FACE]})
    stored = Image.fromarray(np.tile(np.arange(HEIGHT, dtype=np.uint8)[None, :, None] * 6, (WIDTH, 1, 3)))
    exif = Image.Exif()
    exif[274] = 6
    stored.save(tmp_path / "a.jpg", exif=exif)
    assert cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_IGNORE_ORIENTATION).shape[:2] == (WIDTH, HEIGHT)
    image = read_labelme(tmp_path).samples[0].load()
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image[0].mean() < 30 < 200 < image[-1].mean()
