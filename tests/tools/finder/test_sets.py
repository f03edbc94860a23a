"""Pictures that detectors are compared on, by hand."""

import numpy as np

from kd_loss.detection import Detection
from tools.finder import sets
from tools.finder.faces import FacePicture
from tools.finder.sets import Shot


def white(height, width, x, y, side):
    """Black, with one white face."""
    image = np.zeros((height, width, 3), np.uint8)
    image[y : y + side, x : x + side] = 255
    return Shot(lambda: image, np.array([[x + side / 2 - 0.5, y + side / 2 - 0.5, side]]))


def box_of_white(image):
    """A detector of what is brightest, if it is bright."""
    rows, columns = np.nonzero(image[..., 0] > 200)
    if not len(rows):
        return []
    side = float(np.ptp(columns) + 1)
    return [Detection((float(columns.min()) - 0.5, float(rows.min()) - 0.5, side, side), 1.0)]


def test_small_faces_are_where_their_rows_say():
    shot = white(200, 300, 120, 40, 80)
    for name, [small] in sets.by_size([shot]):
        image = small.load()
        assert image.shape == (sets.CANVAS, sets.CANVAS, 3)
        [face] = box_of_white(image)
        assert abs(face.box[2] - small.faces[0, 2]) <= 2
        assert name == f"{small.faces[0, 2]:.0f} px"
        centre = np.array(face.box[:2]) + face.box[2] / 2
        np.testing.assert_allclose(centre, small.faces[0, :2], atol=1)
    assert sets.count(box_of_white, [shot]) == (1, 1, 0)


def test_counting_by_hand():
    two = Shot(lambda: np.zeros((9, 9, 3), np.uint8), np.array([[20.0, 20, 10], [60, 60, 10]]))
    detector = lambda image: [Detection((15, 15, 10, 10), 1.0), Detection((80, 80, 10, 10), 1.0)]  # noqa: E731
    assert sets.count(detector, [two]) == (1, 2, 1)
    assert sets.about(Detection((10, 10, 21, 21), 1.0), two.faces[0])
    assert not sets.about(Detection((5, 5, 30, 30), 1.0), two.faces[0])  # three times as wide


def test_dark_and_bright_copies():
    values = {name: shots[0].load().max() for name, shots in sets.copies([white(20, 20, 5, 5, 10)])}
    assert [values["dark, × 0.3"], values["over-exposed, × 2.5"]] == [76, 255]


def test_by_yaw():
    pictures = [
        FacePicture(np.zeros((9, 9, 3), np.uint8), np.ones((1, 13)), np.zeros((0, 3)), "a", yaw=yaw)
        for yaw in (0, 29, 30, 75, 95)
    ]
    assert [(name, len(shots)) for name, shots in sets.by_yaw(pictures)] == [
        ("0–30°", 2),
        ("30–60°", 1),
        ("over 60°", 2),
    ]


def test_groups_of_an_xml_list(tmp_path):
    (tmp_path / "list.xml").write_text(
        "<dataset><images><image file='a.jpg'><box top='10' left='20' width='4' height='4'/></image></images></dataset>"
    )
    [shot] = sets.groups(tmp_path)
    np.testing.assert_allclose(shot.faces, [[22, 12, 4]])
