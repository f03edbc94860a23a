import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.archives.pts import format_pts, parse_pts, read_pts
from kd_loss.imaging.pictures import BadSample

pytestmark = pytest.mark.quick

HEADER = "version: 1\nn_points: 3\n{\n"


def test_coordinates_start_at_one():
    got = parse_pts(HEADER + "1 1\n11.5 21\n3 4\n}\n", 3)
    np.testing.assert_allclose(got, [[0, 0], [10.5, 20], [2, 3]])


def test_without_a_header():
    np.testing.assert_allclose(parse_pts("1 1\n11.5 21\n3 4\n", 3)[1], [10.5, 20])


@given(st.lists(st.tuples(st.floats(-999, 999), st.floats(-999, 999)), min_size=2, max_size=70).map(np.array))
def test_there_and_back(points):
    points[0] += 2000  # not all in one place
    np.testing.assert_allclose(parse_pts(format_pts(points), len(points)), points, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 points, 3 expected"),
        ("1 1\n2 2\n", "2 points, 3 expected"),
        ("1 1\n2 2\n3", "2.5 points"),
        ("version: 1\nn_points: 68\n{1 1}", "68 points in its header"),
        ("1 1\n2 nan\n3 4", "not a finite number"),
        ("1 1\n2 inf\n3 4", "not a finite number"),
        ("1 1\n2 hello\n3 4", "'hello' is not a number"),
        ("1 1\n1 1\n1 1", "within one pixel"),
        ("1 1\n2 1e30\n3 4", "a coordinate of"),
        ("author: me\n1 1", "unknown header"),
        ("version: 1\nn_points: 3\n{\n1 1\n20 20\n3 4", "is truncated: a brace is missing"),  # cut in "3 45"
    ],
)
def test_a_file_that_is_not_pts_is_reported(text, message):
    with pytest.raises(BadSample, match=message):
        parse_pts(text, 3)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_bad_sample(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("pts") / "a.pts"
    path.write_bytes(data)
    with pytest.raises(BadSample):
        read_pts(path, 68)
