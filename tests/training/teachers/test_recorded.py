"""Recorded teachers: the record on disk, and trainings with it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks import load_network
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.recorded import Views, answers_key, recorded_answers


def quadrants(images):
    """A stand-in for a teacher: 68 points whose coordinates are grey values, and a second tap."""
    flat = images.reshape(len(images), -1)[:, :136].astype(np.float32) / 255
    return {"landmarks": flat.reshape(-1, 68, 2), "embedding": flat[:, :7]}


class Counted:
    def __init__(self):
        self.faces = 0

    def __call__(self, images):
        self.faces += len(images)
        return quadrants(images)


def record(split, folder, views=None, limit=1.0, ask=None, weights="w", data="d"):
    views = views or Views()
    key = answers_key(weights, data, ["landmarks", "embedding"], 24, views)
    return recorded_answers(ask or Counted(), split, folder, key, size=24, views=views, limit=limit)


def test_a_teacher_predicts_once(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    answers, seconds = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    assert seconds > 0
    assert answers.landmarks.shape == (1, 40, 68, 2)
    images = FaceLoader(FaceSampler(split), CropTransform(24), batch_size=40)[0][0]
    np.testing.assert_array_equal(answers.landmarks[0], quadrants(images)["landmarks"])
    again, seconds = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    assert seconds == 0
    np.testing.assert_array_equal(again.taps["embedding"], answers.taps["embedding"])
    assert isinstance(again.landmarks, np.memmap)


def test_trainings_that_start_together_ask_once(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda _: record(split, tmp_path, ask=ask)[0].landmarks, range(4)))
    assert ask.faces == 40
    for landmarks in records:
        np.testing.assert_array_equal(landmarks, records[0])


def test_a_teacher_with_context_sees_more_and_answers_in_the_crops_coordinates(synthetic, tmp_path):
    seen = []

    def corner(images):
        seen.append(images.shape)
        points = np.full((len(images), 68, 2), 0.25, np.float32)  # a quarter of what it sees
        return {"landmarks": points, "embedding": points[:, 0]}

    answers, _ = record(synthetic.split("train"), tmp_path, ask=corner, views=Views(context=1.5))
    assert seen[0][1:] == (24, 24, 3)
    np.testing.assert_allclose(answers.landmarks, 0.375)


def test_other_weights_data_or_views_are_recorded_again(synthetic, tmp_path):
    split, ask = synthetic.split("train"), Counted()
    views = Views(2, Augmentation(), seed=1)
    for changes in ({}, {"weights": "x"}, {"data": "x"}, {"views": views}):
        record(split, tmp_path, ask=ask, **changes)
    assert ask.faces == 40 + 40 + 40 + 2 * 40
    for other in (Views(2, Augmentation(), seed=2), Views(2, Augmentation().scaled(0.5), seed=1)):
        assert answers_key("w", "d", [], 24, other) != answers_key("w", "d", [], 24, views)


@pytest.mark.parametrize("damage", ["flip", "shorten", "remove", "manifest"])
def test_a_damaged_record_is_made_again(synthetic, tmp_path, damage):
    split = synthetic.split("train")
    answers, _ = record(split, tmp_path)
    right = np.array(answers.landmarks)
    [file] = tmp_path.glob("*/landmarks.npy")
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
        file.write_bytes(data)
    elif damage == "shorten":
        file.write_bytes(data[:-100])
    elif damage == "remove":
        file.unlink()
    else:
        (file.parent / "manifest.json").write_text("{")
    ask = Counted()
    again, _ = record(split, tmp_path, ask=ask)
    assert ask.faces == 40
    np.testing.assert_array_equal(again.landmarks, right)


def test_a_record_larger_than_the_limit_is_refused(synthetic, tmp_path):
    with pytest.raises(UserError, match=r"would take 0.0 GB, --cache-limit is 1e-05; raise it"):
        record(synthetic.split("train"), tmp_path, limit=1e-5)
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def weights(folder):
    return load_network(folder / "last.h5").model.get_weights()
