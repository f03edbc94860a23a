"""Following drawn dots instead of faces: the network is a function whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from kd_loss.detection import Detection
from kd_loss.detection.base import overlaps
from kd_loss.imaging import geometry
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.result import FaceLandmarks
from kd_loss.inference.tracking import FaceTracker
from kd_loss.networks import Card
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.schemes.benchmarks import W300

SHAPE = np.random.default_rng(0).uniform(-0.38, 0.38, (68, 2))
SHAPE -= (SHAPE.min(axis=0) + SHAPE.max(axis=0)) / 2


def find_dot(crops):
    """The shape around the bright dot of each crop; on black: all points in one place."""
    answers = []
    for crop in crops:
        rows, columns = np.nonzero(crop[..., 0] > 100)
        centre = (np.array([columns.mean(), rows.mean()]) + 0.5) / crop.shape[0] - 0.5 if len(rows) else np.zeros(2)
        answers.append(centre + SHAPE * (1 if len(rows) else 0.01))
    return np.array(answers, np.float32), None, None


@pytest.fixture
def predictor():
    card = Card("mobileNetV2", 1.0, "w300", W300.to_dict(), 64, "student", 0.15)
    return LandmarkPredictor(CropNetwork(card, "test", find_dot))


def frame(*dots):
    image = np.zeros((240, 320, 3), np.uint8)
    for x, y in dots:
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


class Boxes:
    """A detector that knows the dots and counts how often it is asked."""

    def __init__(self, *dots):
        self.dots, self.asked = dots, 0

    def __call__(self, image):
        self.asked += 1
        return [Detection((x - 40.0, y - 40.0, 80.0, 80.0), 1.0) for x, y in self.dots]


def centre(face):
    return geometry.landmark_box(face.landmarks).reshape(2, 2).mean(axis=0)


def test_a_face_is_followed_without_the_detector(predictor):
    detector = Boxes((100, 100))
    tracker = FaceTracker(predictor, detector, detect_every=100)
    for step in range(12):
        [face] = tracker(frame((100 + 6 * step, 100 + 3 * step)))
        assert face.number == 1
        np.testing.assert_allclose(centre(face), (100 + 6 * step, 100 + 3 * step), atol=1.5)
    assert detector.asked == 1


def test_two_faces_keep_their_numbers_and_a_new_one_gets_the_next(predictor):
    detector = Boxes((80, 60), (240, 60))
    tracker = FaceTracker(predictor, detector, detect_every=2)
    assert {f.number: round(centre(f)[0] / 80) for f in tracker(frame((80, 60), (240, 60)))} == {1: 1, 2: 3}
    detector.dots = ((240, 60), (80, 60), (160, 170))
    tracker(frame((80, 60), (240, 60), (160, 170)))
    faces = tracker(frame((80, 60), (240, 60), (160, 170)))
    assert {f.number: round(centre(f)[0] / 80) for f in faces} == {1: 1, 2: 3, 3: 2}


def test_a_face_that_is_gone_is_given_up(predictor):
    detector = Boxes((100, 100))
    tracker = FaceTracker(predictor, detector, detect_every=5)
    assert len(tracker(frame((100, 100)))) == 1
    detector.dots = ()
    assert tracker(frame()) == []  # on black the answer is no face
    assert detector.asked == 2


def test_a_face_that_the_detector_does_not_see_any_more_is_given_up(predictor):
    detector = Boxes((100, 100))
    tracker = FaceTracker(predictor, detector, detect_every=1, patience=3)
    picture = frame((100, 100))
    tracker(picture)
    detector.dots = ()
    assert [len(tracker(picture)) for _ in range(4)] == [1, 1, 0, 0]


def test_smoothing_lags_behind(predictor):
    plain, smooth = (FaceTracker(predictor, Boxes((100, 100)), detect_every=100, cutoff=c) for c in (0.0, 1.0))
    for step in range(5):
        [a], [b] = plain(frame((100 + 4 * step, 100))), smooth(frame((100 + 4 * step, 100)))
    assert centre(b)[0] < centre(a)[0] - 0.5


def overlap(one, other):
    return overlaps(np.array(one.landmark_box()), np.array([other.landmark_box()]))[0]


def test_smoothing_goes_by_the_time_of_the_frames(predictor):
    """Ten times as long between two frames, the filter is nearer to the new one."""
    quick, slow = (FaceTracker(predictor, Boxes((100, 100)), detect_every=100, cutoff=1.0) for _ in range(2))
    for step in range(5):
        picture = frame((100 + 4 * step, 100))
        [a], [b] = quick(picture, step / 25), slow(picture, step / 2.5)
    assert centre(a)[0] < centre(b)[0] - 0.2


def test_a_face_that_shrinks_to_nothing_is_given_up(predictor):
    """This network's face fills three quarters of its crop: from frame to frame it is smaller, and found anew."""
    tracker = FaceTracker(predictor, Boxes((100, 100)), detect_every=1000)
    sizes = [max(face.landmark_box()[2:]) for _ in range(60) for face in tracker(frame((100, 100)))]
    assert len(sizes) == 60
    assert min(sizes) >= 2


def test_plausible_and_overlap_by_hand():
    square = np.tile([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]], (17, 1))
    face = FaceLandmarks(square, (-1.5, -1.5, 13, 13), W300)
    assert face.plausible()
    assert not replace(face, landmarks=square / 4 + 4).plausible()  # a quarter of the crop
    assert not replace(face, crop_box=(4, -1.5, 13, 13)).plausible()  # off its middle by 5.5 of 13
    assert overlap(face, face) == 1
    assert overlap(face, replace(face, landmarks=square + [5, 0])) == pytest.approx(50 / 150)
    assert overlap(face, replace(face, landmarks=square + 20)) == 0


def at(x):
    """A face of 10 × 10 pixels from x on, in the crop that training would have made of it."""
    corners = np.tile([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]], (17, 1))
    return FaceLandmarks(corners + [x, 0], (x - 1.5, -1.5, 13, 13), W300)


class Placed:
    """A predictor with given positions of the faces."""

    def __init__(self, *places):
        self.places = self.seen = places

    def detect(self, image, detector, refine):
        return [at(x) for x in self.seen]

    def predict_many(self, images, boxes):
        return [at(min(self.places, key=lambda x: abs(x - box[0]))) for box in boxes]


def test_faces_that_overlap_keep_their_numbers():
    """Each detection goes to the face that it overlaps most, each face has one, and one that is seen twice is one."""
    observed = Placed(0.0, 4.5)
    assert overlap(at(0.0), at(4.5)) == pytest.approx(5.5 / 14.5)  # 0.38
    tracker = FaceTracker(observed, None, detect_every=1, patience=3)
    for order in ((0.0, 4.5), (4.5, 0.0), (0.0, 4.5, 4.6), (4.5, 0.1)) * 2:
        observed.seen = order
        assert {face.number: face.landmarks[0, 0] for face in tracker(None)} == {1: 0.0, 2: 4.5}
    observed.seen = (0.0,)
    assert [len(tracker(None)) for _ in range(4)] == [2, 2, 1, 1]
