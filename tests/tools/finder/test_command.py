"""The tool `finder`, on next to nothing, and the choice of the least score."""

import cv2
import numpy as np
import pytest

from kd_loss.detection import Detection, FinderDetector
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.configuration import parse
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json
from tests.archives.archives import write_w300
from tests.detection.test_finder import SIZE, write_white_finder
from tools.finder.command import run_train_finder
from tools.finder.faces import FacePicture
from tools.finder.hold_out import held_out
from tools.finder.measure import choose_score, choose_scores, false_scores, found_scores, judge
from tools.finder.options import FinderOptions

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
    ("false", "allowed", "score"),
    [([], 3, 0.2), ([0.9, 0.8, 0.7, 0.613, 0.3], 3, 0.62), ([0.9] * 3, 3, 0.2), ([0.99] * 4, 3, 0.95)],
)
def test_three_false_boxes_pass(false, allowed, score):
    assert choose_score(np.array(false), allowed) == pytest.approx(score)


def test_judged_by_hand():
    detector = sees((50, 50, 40, 0.7), (20, 20, 15, 0.6))
    assert judge(
        detector, {"real": [picture([(50, 50, 40)]), picture([(80, 80, 9)])], "none": []}, [picture()] * 3
    ) == {
        "real": {"faces": 2, "found": 1},
        "backgrounds": {"pictures": 3, "false": 6},
    }


def test_each_map_has_a_score_of_its_own(tmp_path):
    """A hundred backgrounds with spots of 204 to 237 grey levels, three of each but for the brightest."""
    path = write_white_finder(tmp_path / "white.onnx")
    backgrounds = []
    for number in range(100):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        image[64:72, 40:48] = 204 + number // 3  # the logit is 0 at 204, and rises by 20 / 255 a grey level
        backgrounds.append(FacePicture(image, np.zeros((0, 13)), NOTHING, str(number)))
    fine, coarse = choose_scores(path, backgrounds)
    # three may pass, and a fourth of 236 like two of them must not: only that of 237 is left
    assert fine == pytest.approx(np.ceil(100 / (1 + np.exp(-32 * 20 / 255))) / 100)
    assert coarse == 0.2


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


@pytest.mark.slow
def test_the_command(sources, capsys):
    options = ["--steps", "20", "--batch-size", "2", "--size", "64", "--input-size", "96", "--drawn", "3"]
    places = ["--faces", str(sources / "300W"), "--backgrounds", str(sources / "scenes"), "--runs", str(sources)]
    folder = run_train_finder(parse(FinderOptions, [*places, *options]))
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
        (["--faces", "a", "--backgrounds", "b", "--input-size", "0"], "--input-size 0 is out of range"),
        (["--faces", "a", "--backgrounds", "b", "--steps", "3"], "--steps 3 is out of range: 20 or more"),
        (["--faces", "nowhere", "--backgrounds", "b"], "nowhere"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        run_train_finder(parse(FinderOptions, options))
