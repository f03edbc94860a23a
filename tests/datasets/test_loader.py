import numpy as np
import pytest

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

PLAIN, MOVED = CropTransform(32), CropTransform(32, Augmentation())


def make(split, view=PLAIN, batch_size=12, **order):
    return FaceLoader(FaceSampler(split, **order), view, batch_size=batch_size)


def test_evaluation_keeps_order_and_every_face(synthetic):
    split = synthetic.split("train")
    loader = make(split, CropTransform(48))
    batches = [loader[i] for i in range(len(loader))]
    assert [len(images) for images, _ in batches] == [12, 12, 12, 4]
    np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), np.stack([split.crop(i) for i in range(40)]))
    np.testing.assert_allclose(np.concatenate([b[1]["landmarks"] for b in batches]), split.landmarks, atol=1e-6)


def test_training_drops_the_small_last_batch_and_sees_each_face_once(synthetic):
    loader = make(synthetic.split("train"), MOVED, shuffled=True)
    assert len(loader) == 3
    assert sorted(loader.sampler.of(0)) == list(range(40))


def test_a_batch_depends_on_seed_epoch_and_index_alone(synthetic):
    split = synthetic.split("train")
    a, b = (make(split, MOVED, shuffled=True, seed=3) for _ in "ab")
    first = a[1]
    b[0], b[2]
    np.testing.assert_array_equal(first[0], b[1][0])
    b.epoch = 1
    assert (first[0] != b[1][0]).any()
    b.epoch = 0
    np.testing.assert_array_equal(first[1]["landmarks"], b[1][1]["landmarks"])


def test_soft_targets(synthetic):
    split = synthetic.split("train")
    np.testing.assert_allclose(make(split, CropTransform(32, soft=True))[0][1]["landmarks"], split.soft[:12], atol=1e-6)


def test_bad_options(synthetic):
    split = synthetic.split("train")
    with pytest.raises(UserError, match="--batch-size 0"):
        make(split, batch_size=0)
    with pytest.raises(UserError, match="no face"):
        FaceSampler(split, [])
