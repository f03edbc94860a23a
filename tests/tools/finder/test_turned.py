"""Boxes of turned faces from the points that are seen."""

import cv2
import numpy as np
import pytest

from kd_loss.system.errors import UserError
from tools.finder.hold_out import held_out_number, odd_number
from tools.finder.turned import MIRROR, completed, mean_shapes, read_turned

SHAPE = np.random.default_rng(3).uniform(0, 80, (21, 2))


def test_missing_points_follow_from_the_mean_shape():
    turn = 2 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    whole = SHAPE @ turn.T + [30, 50]
    face = whole.copy()
    face[[2, 12, 20]] = np.nan
    np.testing.assert_allclose(completed(face, SHAPE), whole, atol=1e-6)
    face[3:] = np.nan
    assert completed(face, SHAPE) is None  # two points say nothing


def test_a_mean_shape_is_that_of_faces_turned_alike_and_their_mirror_images():
    faces = np.stack([SHAPE + shift for shift in ([0, 0], [40, 10], [-7, 3])] + [SHAPE[MIRROR] * [-1, 1]])
    faces[:, 16] = np.nan
    shapes = mean_shapes(faces, np.array([60.0, 61, 62, -60]))
    assert set(shapes) == {-4, 4}
    whole = completed(faces[0], shapes[4])
    np.testing.assert_allclose(np.delete(whole, 16, 0), np.delete(faces[0], 16, 0))


def test_reading_a_folder(tmp_path):
    rows, yaws = [], []
    (tmp_path / "images").mkdir()
    for number in range(1, 5):
        name = f"images/image{number:05d}.jpg"
        cv2.imwrite(str(tmp_path / name), np.full((100, 100, 3), 90, np.uint8))
        cells = [f"{v:.2f}" for v in SHAPE.reshape(-1)]
        rows.append(",".join([name, *cells]))
        yaws.append(f"{name},-40.0")
    (tmp_path / "landmarks.csv").write_text("\n".join(rows))
    (tmp_path / "yaw.csv").write_text("\n".join(yaws))
    pictures = read_turned(tmp_path)
    assert [picture.yaw for picture in pictures] == [40.0] * 4
    x0, y0, x1, y1 = *SHAPE.min(0), *SHAPE.max(0)
    expected = [(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)]
    np.testing.assert_allclose(pictures[0].faces[0, :3], expected, atol=0.01)
    with pytest.raises(UserError, match="no .*landmarks.csv"):
        read_turned(tmp_path / "images")


def test_what_is_kept_apart():
    assert held_out_number("images/image00120.jpg")
    assert not held_out_number("images/image00121.jpg")
    assert odd_number("whole_0003")
    assert not odd_number("whole_0004")
    assert not odd_number("nothing")
