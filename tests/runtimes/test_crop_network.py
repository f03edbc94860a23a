import dataclasses

import numpy as np
import pytest

from kd_loss.networks import Card
from kd_loss.runtimes.crop_network import HALF_OF_ANSWERS, CropNetwork, mirrored
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import POSES
from kd_loss.system.errors import UserError

#: left eye, right eye, chin
SPEC = LandmarkScheme("three", 3, pairs=((0, 1),))
CARD = Card("tiny", 1.0, "three", SPEC.to_dict(), 32, "student", 0.15)


def network(answer, card=CARD):
    return CropNetwork(card, "test", answer)


def test_mean_and_spread_of_two_answers_by_hand():
    """A bright left half is answered with other points than a bright right one."""
    upright = np.array([[-0.2, 0.0], [0.2, 0.0], [0.0, 0.4]])
    turned = np.array([[-0.2, 0.0], [0.24, 0.0], [0.0, 0.4]])  # mirrored back: the left eye at −0.24

    def ask(crops):
        left = crops[:, :, :16].mean(axis=(1, 2, 3)) > crops[:, :, 16:].mean(axis=(1, 2, 3))
        return np.where(left[:, None, None], upright, turned), None, None

    crops = np.zeros((2, 32, 32, 3), np.uint8)
    crops[0, :, :16] = crops[1, :, 16:] = 255
    points, spread = mirrored(network(ask)).predict_with_spread(crops)
    np.testing.assert_allclose(points[0], [[-0.22, 0.0], [0.2, 0.0], [0.0, 0.4]], atol=1e-6)
    np.testing.assert_allclose(spread[0], np.array([0.04, 0, 0]) + 0.04 / 3, atol=1e-6)
    np.testing.assert_allclose(points[1], [[-0.2, 0.0], [0.22, 0.0], [0.0, 0.4]], atol=1e-6)
    assert mirrored(network(ask)).half == HALF_OF_ANSWERS


def test_poses_have_a_mean_and_no_spread():
    scheme = POSES["pose_synthetic"]
    answer = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], np.float32)
    card = dataclasses.replace(CARD, dataset=scheme.name, spec=scheme.to_dict())
    found, spread = mirrored(
        network(lambda crops: (np.stack([answer] * len(crops)), None, None), card)
    ).predict_with_spread(np.zeros((1, 32, 32, 3), np.uint8))
    assert spread is None
    raw = scheme.raw(found.astype(np.float64))[0]
    assert raw[1, 0] == pytest.approx(0, abs=1e-6)  # as far left as right: in the middle


def test_a_scheme_without_mirror_images():
    half = LandmarkScheme("half", 3, half=(0, 1))
    card = dataclasses.replace(CARD, dataset="half", spec=half.to_dict())
    with pytest.raises(UserError, match="a mirrored face is not valid for half"):
        mirrored(network(lambda crops: (crops, None), card))
