"""The pictures that show a dataset before a training."""

import dataclasses

import cv2
import numpy as np
import pytest

from kd_loss.datasets.contact_sheets import LARGE, SMALL, crop_sheet, paired, side_colours
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.show import ShowOptions, run_show
from kd_loss.schemes.drawing import OTHER, PREDICTED, TRUTH, UNSURE
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

SPEC = LandmarkScheme("x", 3, pairs=((0, 1),))


def close(image, colour):
    return np.abs(image.astype(int) - colour).max(axis=-1) < 40


def test_colours_of_sides():
    assert side_colours(SPEC) == [PREDICTED, OTHER, UNSURE]


def test_pairs_are_lines_between_their_points():
    points = np.array([[20.0, 30.0], [80.0, 30.0], [50.0, 70.0]])
    drawn = paired(np.zeros((100, 100, 3), np.uint8), points, SPEC)
    assert close(drawn[30, 20], PREDICTED)
    assert close(drawn[30, 80], OTHER)
    assert close(drawn[70, 50], UNSURE)
    assert close(drawn[30, 30:70], TRUTH).all()
    assert not drawn[50].any()  # no line to the point of no pair


def test_prepare_leaves_the_sheets_and_show_draws_them_again(tmp_path, capsys):
    options = PrepareOptions(dataset="synthetic", count=12, size=48, data=tmp_path)
    run_prepare(options)
    folder = tmp_path / "synthetic"
    assert f"look at {folder / 'crops.png'}" in capsys.readouterr().out
    crops = cv2.imread(str(folder / "crops.png"))
    assert crops.shape == (LARGE + 2 * SMALL, 2 * LARGE, 3)
    assert cv2.imread(str(folder / "augmented.png")).shape == (5 * SMALL, 8 * SMALL, 3)
    paths = run_show(
        ShowOptions(dataset="synthetic", data=tmp_path, output=str(tmp_path / "out"), split="test", count=2)
    )
    assert cv2.imread(str(paths[0])).shape == (LARGE + SMALL, 2 * LARGE, 3)
    before = (folder / "augmented.png").read_bytes()
    run_show(ShowOptions(dataset="synthetic", data=tmp_path, augment_strength=0))
    assert (folder / "augmented.png").read_bytes() != before
    run_show(ShowOptions(dataset="synthetic", data=tmp_path))
    assert (folder / "augmented.png").read_bytes() == before
    run_prepare(options)  # the pictures are its own: it replaces the folder


def test_a_wrong_pair_is_seen(synthetic):
    """Its line leaves the face's lines: the picture is another one."""
    split = synthetic.split("train")
    wrong = dataclasses.replace(split.scheme, pairs=((36, 48), (45, 54), *split.scheme.pairs[:4]))
    assert (crop_sheet(split, 1) != crop_sheet(dataclasses.replace(split, scheme=wrong), 1)).mean() > 0.001


def test_faces_that_are_annotated_in_part(synthetic):
    split = synthetic.split("train")
    landmarks = np.array(split.landmarks)
    landmarks[:, :20] = np.nan
    assert crop_sheet(dataclasses.replace(split, target=landmarks), 3).shape == (LARGE + SMALL, 2 * LARGE, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"count": 0}, "--count 0"), ({"augment_strength": 9.0}, "--augment-strength"), ({"seed": -1}, "--seed")],
)
def test_senseless_options(values, message):
    with pytest.raises(UserError, match=message):
        run_show(ShowOptions(**values))
