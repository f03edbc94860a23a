"""The command `train-finder`, on next to nothing, and the choice of the least score."""

import cv2
import numpy as np
import pytest

from kd_loss.cli import execute_command
from kd_loss.datasets.synthetic import draw_face
from kd_loss.detection import Detection, FinderDetector
from kd_loss.errors import UserError
from kd_loss.files import read_json
from kd_loss.finder.faces import FacePicture
from kd_loss.finder.hold_out import held_out
from kd_loss.finder.measure import choose_score, false_scores, found_scores, judge
from tests.datasets.archives import write_w300

NOTHING = np.zeros((0, 3))


def picture(rows=(), unsure=NOTHING):
    faces = np.array([[*row, *[np.nan] * 10] for row in rows]).reshape(-1, 13)
    return FacePicture(np.zeros((100, 100, 3), np.uint8), faces, np.asarray(unsure), "one")


def sees(*faces):
    return lambda image: [Detection((x - side / 2, y - side / 2, side, side), score) for x, y, side, score in faces]


def test_found_and_false_by_hand():
    detector = sees((50, 50, 40, 0.9), (52, 50, 44, 0.7), (20, 20, 15, 0.6), (50, 50, 9, 0.4))
    at = picture([(50, 50, 40)])
    np.testing.assert_allclose(found_scores(detector, [at, picture([(90, 90, 10)])]), [0.9, 0])
    # what is no face: that at (20, 20), and that which is far too small; on the second picture all of them
    np.testing.assert_allclose(false_scores(detector, [at]), [0.6, 0.4])
    np.testing.assert_allclose(false_scores(detector, [picture(unsure=[(20, 21, 14)])]), [0.9, 0.7, 0.4])


@pytest.mark.parametrize(
    ("false", "pictures", "score"),
    [([], 50, 0.2), ([0.9, 0.8, 0.7, 0.613, 0.3], 50, 0.62), ([0.9] * 3, 50, 0.2), ([0.99] * 4, 50, 0.95)],
)
def test_three_false_of_fifty_pass(false, pictures, score):
    assert choose_score(np.array(false), pictures) == pytest.approx(score)


def test_a_finder_is_judged_on_other_backgrounds_than_those_of_the_score():
    scores = iter([0.9, 0.5, 0.8, 0.95, 0.3, 0.2] + [0.7] * 3)
    backgrounds = [picture() for _ in range(6)]
    order = [*backgrounds[::2], *backgrounds[1::2]]
    answers = {id(p.image): sees((50, 50, 20, next(scores))) for p in order}
    score, rows = judge(
        lambda image: answers.get(id(image), sees((50, 50, 40, 0.93)))(image),
        {"real": [picture([(50, 50, 40)])], "none": []},
        backgrounds,
    )
    assert score == pytest.approx(0.91)  # of three pictures none may pass: above 0.9
    assert rows == {
        "real": {"faces": 1, "found": 1},
        "backgrounds": {"pictures": 3, "false": 1, "pictures_of_the_score": 3},
    }


def test_one_in_ten_is_held_out():
    share = np.mean([held_out(f"helen/{number}") for number in range(3000)])
    assert 0.08 < share < 0.12
    assert held_out("helen/13") == held_out("helen/13")


@pytest.fixture
def sources(tmp_path):
    write_w300(tmp_path / "300W", {"afw": 24, "helen/testset": 2})
    (tmp_path / "scenes").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "scenes" / f"{number}.png"), np.full((60, 80, 3), 50 * number, np.uint8))
    return tmp_path


def test_the_command(sources, capsys):
    options = ["--steps", "20", "--batch-size", "2", "--size", "64", "--input-size", "96", "--drawn", "3"]
    places = ["--faces", str(sources / "300W"), "--backgrounds", str(sources / "scenes"), "--runs", str(sources)]
    folder = execute_command("train-finder", [*places, *options], "kd-loss train-finder")
    card = read_json(folder / "finder.json", "the card")
    assert card["size"] == 96
    assert card["training"]["faces"] == ["300W"]
    assert str(sources) not in (folder / "finder.json").read_text()
    assert card["metrics"]["300W"]["faces"] >= 1  # of 24; the test part is never opened
    assert "false in 1 backgrounds" in capsys.readouterr().out
    image = draw_face(120, 0, 1)
    maps = [FinderDetector(folder / f"finder{suffix}", 0.001)(image) for suffix in (".tflite", ".onnx")]
    assert len(maps[0]) == len(maps[1]) > 0
    for one, other in zip(*maps, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.05)
        assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --faces FOLDER… and --backgrounds FOLDER"),
        (["--faces", "a", "--backgrounds", "b", "--size", "100"], "--size 100 is not a multiple of 32"),
        (["--faces", "a", "--backgrounds", "b", "--input-size", "0"], "--input-size 0 is not"),
        (["--faces", "a", "--backgrounds", "b", "--steps", "3"], "--steps has to be at least 20"),
        (["--faces", "nowhere", "--backgrounds", "b"], "nowhere"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        execute_command("train-finder", options, "kd-loss train-finder")
