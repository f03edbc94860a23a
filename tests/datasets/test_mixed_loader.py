import numpy as np
import pytest

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.mixed_loader import MixedLoader
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform

pytestmark = pytest.mark.quick


def make(synthetic, alpha=0.75, augmentation=NO_AUGMENTATION):
    annotated, unlabelled = synthetic.split("train"), synthetic.split("test")
    loaders = [
        FaceLoader(
            FaceSampler(split, shuffled=True),
            CropTransform(48, augmentation),
            batch_size=6,
            answers={"tough": Answers({"landmarks": split.landmarks[None] + 0.25})},
        )
        for split in (annotated, unlabelled)
    ]
    return MixedLoader(*loaders, alpha, seed=5)


def test_annotated_unlabelled_and_mixtures(synthetic):
    loader = make(synthetic)
    images, targets = loader[0]
    assert images.shape == (18, 48, 48, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(targets["kind"], np.repeat([0, 1, 2], 6))
    first, second, mixed = np.split(targets["landmarks"], 3)
    # the share of each mixture follows from one coordinate, and holds for the others and for the pixels
    share = (mixed - second)[:, 0, 0] / (first - second)[:, 0, 0]
    assert (share >= 0.5).all()
    assert (share <= 1 + 1e-4).all()
    weight = share[:, None, None]
    np.testing.assert_allclose(mixed, weight * first + (1 - weight) * second, atol=1e-4)
    a, b, c = np.split(images.astype(float), 3)
    weight = weight[..., None]
    assert np.abs(c - (weight * a + (1 - weight) * b)).max() <= 0.6  # rounding to whole grey values
    np.testing.assert_allclose(targets["tough/landmarks"], targets["landmarks"] + 0.25, atol=1e-5)


def test_without_mixtures(synthetic):
    images, targets = make(synthetic, alpha=0.0)[0]
    assert len(images) == 12
    assert set(targets["kind"]) == {0, 1}


def test_unlabelled_faces_run_on_from_batch_to_batch_and_epoch_to_epoch(synthetic):
    loader = make(synthetic)
    rows = []
    for epoch in range(2):
        loader.epoch = epoch
        rows += [loader._unlabelled_rows(batch, 6) for batch in range(len(loader))]
    rows = np.concatenate(rows)
    count = len(synthetic.split("test"))
    assert len(rows) == 2 * 6 * len(loader)
    for start in range(0, len(rows) - count + 1, count):
        assert sorted(rows[start : start + count]) == list(range(count))


def test_the_same_batch_whatever_was_read_before(synthetic):
    a, b = make(synthetic, augmentation=Augmentation()), make(synthetic, augmentation=Augmentation())
    a[0], a[1]
    np.testing.assert_array_equal(a[2][0], b[2][0])


@pytest.mark.parametrize("views", [0, 3])
def test_answers_come_with_the_faces(synthetic, views):
    split = synthetic.split("train")
    landmarks = np.broadcast_to(split.landmarks, (max(1, views), *split.landmarks.shape))
    numbered = landmarks + np.arange(max(1, views))[:, None, None, None]
    faces, view = FaceSampler(split, shuffled=True), CropTransform(32, Augmentation(), count=views)
    loader = FaceLoader(faces, view, batch_size=8, answers={"t": Answers({"landmarks": numbered}, views)})
    for epoch in range(4):
        loader.epoch = epoch
        _, targets = loader[0]
        if views:  # as they were recorded, of the view whose turn it is
            chosen = faces.of(epoch)[:8]
            np.testing.assert_allclose(targets["t/landmarks"], numbered[epoch % 3][chosen])
        else:  # moved as the truth is
            np.testing.assert_allclose(targets["t/landmarks"], targets["landmarks"], atol=1e-5)
    if views:  # view 0 comes back after three epochs, in another order
        loader.epoch, face = 0, int(faces.of(0)[0])
        first = loader.rows(np.array([face]))[0]
        loader.epoch = 3
        np.testing.assert_array_equal(first, loader.rows(np.array([face]))[0])
        loader.epoch = 1
        assert (first != loader.rows(np.array([face]))[0]).any()


def test_answers_of_other_views_are_refused(synthetic):
    split = synthetic.split("train")
    with pytest.raises(ValueError, match="0 views, not 2"):
        FaceLoader(
            FaceSampler(split, [0]),
            CropTransform(32, count=2),
            batch_size=1,
            answers={"t": Answers({"landmarks": split.landmarks[None]})},
        )
