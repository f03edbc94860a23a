"""What a landmark network does not confirm as a face, by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from kd_loss.detection import Detection
from kd_loss.inference.base import confirmed, distinct
from kd_loss.inference.result import FaceLandmarks
from kd_loss.inference.tracking import FaceTracker
from kd_loss.schemes.benchmarks import W300
from tests.inference.test_tracking import Boxes, frame
from tests.inference.test_tracking import predictor as predictor

SQUARE = np.tile([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]], (17, 1))
#: a face of 10 pixels in the crop that training would have made of it
FACE = FaceLandmarks(SQUARE, (-1.5, -1.5, 13, 13), W300)
BOX = (0.0, 0.0, 10.0, 10.0)


def test_a_face_that_stays_is_one():
    assert confirmed(FACE, BOX, None)
    assert confirmed(FACE, BOX, BOX)
    assert confirmed(FACE, BOX, (1.4, 0, 10, 10))
    assert not confirmed(FACE, BOX, (1.6, 0, 10, 10))  # 0.16 of its side
    assert confirmed(FACE, BOX, (-0.5, -0.5, 11, 11))
    assert not confirmed(FACE, BOX, (-1, -1, 12, 12))  # it was larger by a sixth


def test_what_shrinks_or_does_not_fill_its_crop_is_none():
    assert confirmed(FACE, (0, 0, 24, 24), BOX)
    assert not confirmed(FACE, (0, 0, 26, 26), BOX)  # less than 0.4 of what the detector said
    assert not confirmed(replace(FACE, crop_box=(-10, -10, 30, 30)), BOX, BOX)
    # of fewer points nobody knows what a face's box is
    few = SimpleNamespace(landmarks=SQUARE[:2], landmark_box=lambda: BOX, plausible=lambda: False)
    assert confirmed(few, BOX, BOX)


def test_a_track_that_shrinks_below_half_is_given_up(predictor):
    """This network's face fills three quarters of its crop and the detector is not asked again."""
    tracker = FaceTracker(predictor, Boxes((100, 100)), every=1000)
    first = max(tracker(frame((100, 100)))[0].landmark_box()[2:])
    sizes = [max(face.landmark_box()[2:]) for _ in range(40) for face in tracker(frame((100, 100)))]
    assert min(sizes) >= 0.5 * first


def test_a_face_that_its_network_takes_for_hidden_is_none():
    share = np.full(len(FACE.landmarks), 0.31)
    assert confirmed(replace(FACE, visibility=share), BOX, BOX)
    assert not confirmed(replace(FACE, visibility=share - 0.02), BOX, BOX)


def test_one_face_in_two_boxes_is_one():
    def moved(by: float) -> FaceLandmarks:
        return replace(FACE, landmarks=SQUARE + [by, 0.0])

    assert distinct([]) == []
    # squares of 10 that are 3 apart share 7 of 13; 4 apart 6 of 14
    assert distinct([FACE, moved(3)]) == [FACE]
    assert len(distinct([FACE, moved(4)])) == 2
    # the first stays, and what it leaves out leaves out nothing
    assert [face.landmarks[0, 0] for face in distinct([FACE, moved(3), moved(6)])] == [0.0, 6.0]
    # a profile's box is narrow: its square counts
    narrow = replace(FACE, landmarks=SQUARE * [0.1, 1.0])
    assert len(distinct([narrow, replace(narrow, landmarks=narrow.landmarks + [2.0, 0.0])])) == 1


def test_boxes_of_somebodys_own_stay_even_if_they_overlap(predictor):
    image = frame((100, 100))
    boxes = [(60.0, 60.0, 80.0, 80.0), (63.0, 60.0, 80.0, 80.0)]

    def twice(exact):
        return predictor.detect(image, lambda _: [Detection(box, 0.9, exact=exact) for box in boxes], 0)

    assert len(twice(True)) == 2
    assert len(twice(False)) < 2
