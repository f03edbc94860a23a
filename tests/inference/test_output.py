import csv
import json

import numpy as np
import pytest

from kd_loss.archives.pts import parse_pts
from kd_loss.inference.output import CsvTable, VideoWriter, csv_header, origin_of, write_picture
from kd_loss.inference.predict_command import result_names
from kd_loss.inference.result import FaceLandmarks
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.versions import __version__


def test_text_formats():
    face = FaceLandmarks(np.array([[1.0, 2.0], [3.0, 4.5]]), (0, 0, 9, 9), LandmarkScheme("two", 2))
    assert json.loads(face.to_json())["landmarks"] == [[1, 2], [3, 4.5]]
    np.testing.assert_allclose(parse_pts(face.to_pts(), 2), face.landmarks)


def test_visibility_is_written_and_drawn_hollow():
    spec = LandmarkScheme("three", 3, edges=((0, 1, 2),))
    points = np.array([[40.0, 80], [120, 80], [200, 80]])
    face = FaceLandmarks(points, (0, 0, 240, 160), spec, visibility=np.array([0.9, 0.4, 0.1234]))
    assert json.loads(face.to_json())["visibility"] == [0.9, 0.4, 0.123]
    assert face.cells()[-3:] == ["0.900", "0.400", "0.123"]
    drawn = face.draw(np.zeros((160, 240, 3), np.uint8)).sum(axis=2)
    assert drawn[80, 40] > 300  # filled
    assert drawn[80, 200] < 150  # hollow
    assert drawn[80, 160] == 0  # without a line to the other hidden one
    assert drawn[80, 80] > 0  # but one from a visible point
    plain = FaceLandmarks(points, (0, 0, 240, 160), spec)
    assert "visibility" not in plain.to_dict()
    assert plain.draw(np.zeros((160, 240, 3), np.uint8)).sum(axis=2)[80, 200] > 300


def test_the_pose_is_that_of_the_visible_points():
    from kd_loss.schemes.benchmarks import W300
    from kd_loss.synthetic.faces import face_landmarks

    points = face_landmarks("w300", 200, 0, 0)
    wild = points.copy()
    wild[42:48] += [150, 60]  # a guess far outside
    wild[54] += [80, 0]
    seen = np.ones(68)
    seen[[*range(42, 48), 54]] = 0
    true, wrong, mended = (
        FaceLandmarks(p, (0, 0, 200, 200), W300, visibility=v).pose()
        for p, v in ((points, None), (wild, None), (wild, seen))
    )
    assert abs(mended.yaw - true.yaw) < 6
    assert wrong is None or abs(wrong.yaw - true.yaw) > 10
    few = np.zeros(68)
    assert FaceLandmarks(points, (0, 0, 200, 200), W300, visibility=few).pose() == true


def test_results_never_overwrite_pictures_or_each_other(tmp_path):
    a, b, c = tmp_path / "x" / "a.jpg", tmp_path / "x" / "a.png", tmp_path / "y" / "b.png"
    for path in (a, b, c):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    out = tmp_path / "out"
    assert [p.name for p in result_names([a, b, c], out)] == ["a_jpg", "a_png", "b"]
    names = ("p.jpg", "p-2.jpg", "faces.mp4", "q-2.jpg")  # p-2.pts is the second face of p, faces.csv the table
    assert [p.name for p in result_names([tmp_path / n for n in names], out)] == ["p", "p-2_jpg", "faces_mp4", "q-2"]
    with pytest.raises(UserError, match="is inside the output folder"):
        result_names([a], tmp_path / "x")
    same = [a, tmp_path / "y" / "a.jpg", tmp_path / "z" / "x" / "a.jpg"]
    names = [p.name for p in result_names(same, out)]
    assert names == [f"{tmp_path.name}_x_a_jpg", "y_a_jpg", "z_x_a_jpg"]
    with pytest.raises(UserError, match="a.jpg is given twice"):
        result_names([a, c, tmp_path / "y" / ".." / "x" / "a.jpg"], out)


def test_naming_many_results(tmp_path):
    """20,000 pictures: naming does not compare each with all others."""
    paths = [tmp_path / f"{i // 2}-{i % 2}.jpg" for i in range(20_000)]
    assert len(set(result_names(paths, tmp_path / "out"))) == 20_000


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        *(("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("@SUM(A1)", "'@SUM(A1)"), ("+1+cmd.jpg", "'+1+cmd.jpg")),
        *(
            ("-a.jpg", "'-a.jpg"),
            ("\tx", "'\tx"),
            ("-3.25", "-3.25"),
            ("+7", "+7"),
            ("-1e-05", "-1e-05"),
            ("a=b", "a=b"),
        ),
    ],
)
def test_no_cell_of_a_table_is_a_formula(tmp_path, cell, written):
    with CsvTable(tmp_path / "t.csv", ["source"]) as table:
        table.writerow([cell])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["source"], [written]]


def test_json_says_where_its_faces_are_from(tmp_path):
    face = FaceLandmarks(np.array([[1.0, 2.0], [3.0, 4.5]]), (0, 0, 9, 9), LandmarkScheme("two", 2))
    image = np.zeros((30, 40, 3), np.uint8)
    claims = Claims(tmp_path, [])
    origin = origin_of("photos/a.jpg", image, "student.h5")
    write_picture(tmp_path / "a", image, [face, face], False, claims, origin)
    told = json.loads((tmp_path / "a.json").read_text())
    assert len(told.pop("faces")) == 2
    assert told == {
        **{"source": "photos/a.jpg", "width": 40, "height": 30, "weights": "student.h5", "kd_loss": __version__}
    }
    options = {"weights": "student.h5", "pose": False, "pts": False}
    with VideoWriter(tmp_path / "v", "clips/v.mp4", 25.0, csv_header([]), claims, **options) as writer:
        for time in (0.0, 0.04):
            writer.write(image, [face], time)
    told = json.loads((tmp_path / "v.json").read_text())
    assert [frame["frame"] for frame in told.pop("frames")] == [0, 1]
    assert (told["source"], told["rate"], told["width"]) == ("clips/v.mp4", 25.0, 40)
    with (tmp_path / "v.csv").open(newline="") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"clips/v.mp4"}  # the path, as for pictures
