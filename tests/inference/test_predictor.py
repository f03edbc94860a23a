import dataclasses
import itertools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from kd_loss.detection import Detection, FinderDetector, HaarDetector
from kd_loss.imaging import geometry
from kd_loss.inference.base import SETTLED, drift
from kd_loss.inference.predict_command import PredictOptions, make_detector
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.runtimes.crop_network import CropNetwork, mirrored
from kd_loss.system.deprecation import RenamedWarning
from kd_loss.system.errors import UserError
from tests.inference.conftest import POINTS


def test_a_cropped_face_is_seen_whole(predictor):
    face = predictor.predict_crop(np.zeros((100, 60, 3), np.uint8))
    # the square around a picture of 60 × 100 is 100 wide and starts 20 pixels left of it
    np.testing.assert_allclose(face.landmarks, (POINTS + 0.5) * 100 + [-20.5, -0.5], atol=1e-4)
    assert face.crop_box == pytest.approx((-20.5, -0.5, 100, 100))


def test_a_box_is_widened_as_in_training(predictor):
    face = predictor.predict_crop(np.zeros((200, 200, 3), np.uint8), box=(50, 60, 40, 40))
    square = geometry.square_crop((50, 60, 90, 100), 0.15)
    assert face.crop_box == pytest.approx((*square, square[2]))


def test_many_are_one_by_one(predictor):
    images = [np.full((40 + i, 50, 3), i, np.uint8) for i in range(3)]
    for image, face in zip(images, predictor.predict_many(images), strict=True):
        np.testing.assert_allclose(face.landmarks, predictor.predict_crop(image).landmarks, atol=1e-5)


@pytest.mark.parametrize("image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_an_invalid_picture_is_refused(predictor, image):
    with pytest.raises(UserError, match="uint8"):
        predictor.predict_crop(image)


def test_an_invalid_photograph_is_refused(predictor):
    with pytest.raises(UserError, match=r"an image \(H, W, 3\) uint8 RGB, or a list of either, not NoneType"):
        predictor(None)


@pytest.mark.parametrize("shape", [(10, 3000), (3000, 5), (4, 4000)])
def test_thin_pictures(predictor, shape):
    assert np.isfinite(predictor.predict_crop(np.zeros((*shape, 3), np.uint8)).landmarks).all()


def test_a_thin_picture_and_a_very_wide_one_are_searched(predictor):
    assert HaarDetector()(np.zeros((2, 3000, 3), np.uint8)) == []
    # OpenCV warps up to 32,766
    face = predictor.predict_crop(np.zeros((40, 33_000, 3), np.uint8), box=(32_000, 5, 20, 20))
    np.testing.assert_allclose(face.landmarks, (POINTS + 0.5) * 26 + [31_997, 2], atol=0.01)


def test_a_damaged_network_is_one_line(predictor):
    broken = dataclasses.replace(
        predictor.network, predict_all=lambda crops: (np.full((len(crops), 68, 2), np.nan), None, None)
    )
    with pytest.raises(UserError, match="not finite"):
        LandmarkPredictor(broken).predict_crop(np.zeros((48, 48, 3), np.uint8))


def test_faces_of_a_photograph(predictor, synthetic):
    """Two faces side by side, a detector that knows where they are, and crops taken again from the landmarks."""
    predictor.confirm = False  # this network has learned nothing
    faces = [synthetic.split("test").crop(i) for i in range(2)]
    photograph = np.concatenate([np.zeros((48, 10, 3), np.uint8), *faces], axis=1)
    found = [Detection((10 + 48 * i + 6, 6, 36, 36), 9.0 - i) for i in range(2)]
    rough = predictor.detect(photograph, lambda image: found, refine=0)
    boxed = predictor.predict_many([photograph] * 2, [face.box for face in found])
    for one, other in zip(rough, boxed, strict=True):
        np.testing.assert_allclose(one.landmarks, other.landmarks)
    assert [face.score for face in rough] == [9.0, 8.0]
    refined = predictor.detect(photograph, lambda image: found, refine=1)
    for before, after, box in zip(rough, refined, found, strict=True):
        assert drift(before.landmark_box(), box.box) > SETTLED
        x, y, side = geometry.square_crop(geometry.landmark_box(before.landmarks), predictor.card.margin)
        np.testing.assert_allclose(after.crop_box, (x, y, side, side))
    assert predictor.detect(photograph, lambda image: []) == []


def test_only_a_face_that_is_not_where_its_crop_supposed_is_cropped_again(predictor):
    """A network that always answers with the same points: in the second box they lie where it supposed, nearly."""
    looked = []

    def answer(crops):
        looked.append(len(crops))
        return np.stack([POINTS * scale for _ in crops]), None, None

    scale = 1 / 1.3 / np.ptp(POINTS, axis=0).max()  # the points fill their box, the crop is 1.3 times as wide
    still = LandmarkPredictor(dataclasses.replace(predictor.network, predict_all=answer), confirm=False)
    middle = (POINTS.min(axis=0) + POINTS.max(axis=0)) / 2 * scale
    assert np.abs(middle).max() < SETTLED / 1.3
    image = np.zeros((200, 200, 3), np.uint8)
    found = [Detection((50, 50, 60, 60), 1.0)]
    assert still.detect(image, lambda _: found, refine=3)[0].crop_box == pytest.approx((41, 41, 78, 78))
    assert looked == [1]
    scale *= 0.8
    looked.clear()
    again = still.detect(image, lambda _: found, refine=3)[0]
    assert looked == [1, 1, 1, 1]
    assert again.crop_box[2] == pytest.approx(78 * 0.8**3)
    # two faces, one of them settled: the second batch has the other alone
    looked.clear()
    scale /= 0.8
    given = [Detection((50, 50, 60, 60), 1.0), Detection((50, 50, 60, 60), 1.0)]
    calls = iter([np.stack([POINTS * scale, POINTS * scale * 0.5]), np.stack([POINTS * scale])])

    def answers(crops):
        looked.append(len(crops))
        return next(calls), None, None

    mixed = LandmarkPredictor(dataclasses.replace(predictor.network, predict_all=answers), confirm=False)
    faces = mixed.detect(image, lambda _: given, refine=2)
    assert looked == [2, 1]
    assert [face.crop_box[2] for face in faces] == pytest.approx([78, 39])


def test_a_face_is_cropped_again_by_its_landmark_box_not_by_its_crop(predictor, synthetic):
    """The crop of the landmarks' box is that of a refined face; the old names of both boxes warn."""
    face = predictor.predict_crop(synthetic.split("test").crop(0))
    again = predictor.predict_crop(np.zeros((48, 48, 3), np.uint8), face.landmark_box())
    np.testing.assert_allclose(again.crop_box[2], 1.3 * max(face.landmark_box()[2:]), rtol=1e-6)
    with pytest.warns(RenamedWarning, match=r"FaceLandmarks\.box is now crop_box"):
        assert face.box == face.crop_box
    with pytest.warns(RenamedWarning, match="FaceLandmarks.around is now landmark_box"):
        assert face.around() == face.landmark_box()
    with pytest.warns(RenamedWarning):
        assert dataclasses.replace(face, box=(0, 0, 1, 1)).crop_box == (0, 0, 1, 1)


def test_a_detectors_box_is_calibrated_to_the_scheme(network):
    """Landmarks half as wide as a detector's box, a tenth of it lower; a given box stays as it is."""
    card = dataclasses.replace(network.card, calibration={"x": 0.0, "y": 0.1, "side": 0.5})
    predictor = LandmarkPredictor(dataclasses.replace(CropNetwork.of(network), card=card))
    image, box = np.zeros((100, 100, 3), np.uint8), (20.0, 20.0, 40.0, 40.0)
    [face] = predictor.detect(image, lambda _: [Detection(box, 1.0)], refine=0)
    np.testing.assert_allclose(face.crop_box, [40 - 13, 44 - 13, 26, 26])  # 20 · 1.3 around (40, 40 + 4)
    [given] = predictor.detect(image, lambda _: [Detection(box, 1.0, exact=True)], refine=0)
    np.testing.assert_allclose(given.crop_box, [40 - 26, 40 - 26, 52, 52])


def test_cropped_faces_and_boxes(predictor):
    """A crop as in training is the square around the picture; a box is that of the landmarks."""
    image = np.zeros((60, 100, 3), np.uint8)
    [whole] = predictor.detect(image, make_detector(PredictOptions(detector="none"), 0.15), refine=0)
    np.testing.assert_allclose(whole.landmarks, predictor.predict_crop(image).landmarks, atol=1e-4)
    [boxed] = predictor.detect(image, make_detector(PredictOptions(box="10,20,30,40"), 0.15), refine=0)
    np.testing.assert_allclose(boxed.landmarks, predictor.predict_crop(image, (10, 20, 30, 40)).landmarks)


def test_the_edge_of_a_large_picture(predictor):
    """A face that is half outside, and one in a picture of 8,000 pixels."""
    face = predictor.predict_crop(np.zeros((100, 100, 3), np.uint8), box=(80, 80, 60, 60))
    assert np.isfinite(face.landmarks).all()
    large = predictor.predict_crop(np.zeros((8000, 6000, 3), np.uint8), box=(5000, 7000, 900, 900))
    np.testing.assert_allclose(large.landmarks, (POINTS + 0.5) * 1170 + [4865, 6865], atol=0.01)


@pytest.mark.parametrize(
    "box",
    [
        *((1, 2, 3), (1, 2, np.nan, 4), (50, 50, 0, 0), (5, 5, -20, 20), [[1, 2, 3, 4]]),
        *((0, 0, 1e-300, 1e-300), (0, 0, 1e308, 1e308), (1e308, 0, 9, 9), (0, -1e7, 9, 9), (0, 0, 0.001, 0.009)),
    ],
)
def test_an_invalid_box_is_refused(predictor, box):
    with pytest.raises(UserError, match=r"is not \(x, y, width, height\) in pixels, its longer side 0.01 or more"):
        predictor.predict_crop(np.zeros((60, 60, 3), np.uint8), box)


@pytest.mark.parametrize("box", list(itertools.product((-1e6, 0, 1e6), (0.01, 1e6))))
def test_the_farthest_boxes_give_numbers(predictor, box):
    corner, side = box
    face = predictor.predict_crop(np.zeros((60, 60, 3), np.uint8), (corner, corner, side, side))
    assert np.isfinite(face.landmarks).all()
    json.loads(face.to_json(), parse_constant=pytest.fail)


def test_threads_share_a_predictor():
    """The shipped student and the shipped finder, neither of which could be asked twice at once."""
    predictor = LandmarkPredictor.load()
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 120, 120, 3)).astype(np.uint8))
    expected = [predictor.predict_crop(picture).landmarks for picture in pictures]

    def ask(number):
        predictor(pictures[number % 4])
        return predictor.predict_crop(pictures[number % 4]).landmarks

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(ask, range(16))):
            np.testing.assert_array_equal(found, expected[number % 4])


@pytest.mark.parametrize("mirror", [False, True])
def test_a_predictor_is_pickled(predictor, synthetic, mirror):
    """A file opens again by its path, a network in memory travels; detectors open their files again."""
    picture = synthetic.split("test").crop(0)
    of_file = LandmarkPredictor.load(flip_test=mirror, detector=HaarDetector())
    of_memory = LandmarkPredictor(mirrored(predictor.network) if mirror else predictor.network)
    for one in (of_file, of_memory):
        again = pickle.loads(pickle.dumps(one))
        assert again.predict_crop(picture) == one.predict_crop(picture)
    detector = pickle.loads(pickle.dumps(FinderDetector(min_score=0.5)))
    assert detector.min_scores == (0.5, 0.5)


def test_faces_compare_and_have_a_short_repr(predictor):
    picture = np.zeros((60, 60, 3), np.uint8)
    one, same, other = (predictor.predict_crop(picture, box) for box in (None, None, (5, 5, 20, 20)))
    assert one == same
    assert one != other
    assert one != "a face"
    assert len({one, same, other}) == 2
    assert repr([one]) == "[FaceLandmarks(68 landmarks of w300, crop_box=(-0.5, -0.5, 60.0, 60.0))]"
    assert one != dataclasses.replace(one, score=0.5)


def test_a_number_that_is_none_is_null_in_json(predictor):
    face = predictor.predict_crop(np.zeros((60, 60, 3), np.uint8))
    face = dataclasses.replace(face, landmarks=np.full((68, 2), np.nan), confidence=np.full(68, np.inf))
    observed = json.loads(face.to_json(), parse_constant=pytest.fail)
    assert (observed["landmarks"][0], observed["confidence"][0]) == ([None, None], None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p(b"jpeg"), "a photograph is a file, an image .* not bytes"),
        (lambda p: p([None]), "a photograph is a file, an image .* not NoneType"),
        (lambda p: p(3), "a photograph is a file, an image .* not int"),
        (lambda p: p(np.zeros((4, 4))), r"an image of \(4, 4\) float64 is not"),
        (lambda p: p.predict_crop("a.jpg"), r"an image is an array \(H, W, 3\) uint8 RGB, not str"),
        (lambda p: p.predict_crop(np.zeros((9, 9, 3), np.uint8), "1,2,3,4"), "a box of '1,2,3,4' is not"),
        (lambda p: p.predict_crop(np.zeros((9, 9, 3), np.uint8), ["a", 2, 3, 4]), r"a box of \['a', 2, 3, 4\] is not"),
        (lambda p: p.predict_many([np.zeros((9, 9, 3), np.uint8)], [None] * 2), "1 images and 2 boxes"),
        (lambda p: p.detect(np.zeros((9, 9, 3), np.uint8), HaarDetector(), refine="1"), "refine = '1' is not"),
        (lambda p: LandmarkPredictor(p.network, detector=None), "detector = None is neither the name of a detector"),
        (lambda p: LandmarkPredictor(p.network, refine=1.5), "refine = 1.5 is not a whole number"),
        (lambda p: LandmarkPredictor.load(3), "path is 3; the path of a file or folder is wanted"),
    ],
)
def test_an_unknown_argument_is_named(predictor, call, message):
    with pytest.raises(UserError, match=message):
        call(predictor)


def test_no_pictures_have_no_faces(predictor):
    assert predictor([]) == predictor.predict_many([]) == []


def test_a_picture_of_pil(synthetic):
    predictor = LandmarkPredictor.load()
    face = synthetic.split("test").crop(0)
    assert predictor(Image.fromarray(face)) == predictor(face)
    assert predictor([Image.fromarray(face).convert("RGBA")]) == [predictor(face)]
