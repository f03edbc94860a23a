import csv
import json

import numpy as np
import pytest

from kd_loss.archives.pts import parse_pts
from kd_loss.inference.output import CsvTable
from kd_loss.inference.predict_command import result_names
from kd_loss.inference.result import FaceLandmarks
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError


def test_text_formats():
    face = FaceLandmarks(np.array([[1.0, 2.0], [3.0, 4.5]]), (0, 0, 9, 9), LandmarkScheme("two", 2))
    assert json.loads(face.to_json())["landmarks"] == [[1, 2], [3, 4.5]]
    np.testing.assert_allclose(parse_pts(face.to_pts(), 2), face.landmarks)


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
