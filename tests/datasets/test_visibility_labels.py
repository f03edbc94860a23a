"""Which points are visible: from the archive to the batch."""

import numpy as np
import pytest

from kd_loss.archives.merge import add_faces, in_scheme
from kd_loss.archives.sample import Archive, Sample
from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation
from kd_loss.datasets.map_points import aflw_archive
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.transform import CropTransform
from kd_loss.schemes.benchmarks import AFLW21, CFP30, W300
from kd_loss.schemes.full_head import AFLW
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.synthetic.faces import face_landmarks
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick
SPEC = LandmarkScheme("dots", 4, pairs=((0, 1), (2, 3)))


def image():
    return np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)


def dots(count, labels):
    """Faces of four points; `labels` of the first one, nothing known of the others."""
    corners = np.array([[20.0, 20], [60, 20], [20, 60], [60, 60]])
    rng = np.random.default_rng(0)
    archive = Archive(SPEC)
    for i in range(count):
        points = corners + rng.normal(0, 1, (4, 2))
        archive.samples.append(
            Sample(str(i), points, "train", "train", str(i), image, visibility=labels if i == 0 else None)
        )
    return archive


@pytest.fixture
def split(tmp_path):
    prepare(dots(6, np.array([1, 0, np.nan, 1])), tmp_path / "dots", size=32)
    return open_dataset("dots", tmp_path).split("train")


def test_labels_are_kept_and_a_face_without_them_shows_its_points(split):
    np.testing.assert_array_equal(split.visibility[0], [1, 0, np.nan, 1])
    np.testing.assert_array_equal(split.visibility[1:], np.ones((5, 4)))


def test_without_any_label_there_is_no_file(tmp_path):
    prepare(dots(6, None), tmp_path / "dots", size=32)
    opened = open_dataset("dots", tmp_path).split("train")
    assert opened.visibility is None
    assert not (tmp_path / "dots" / "train" / "visibility.npy").exists()
    _, targets = CropTransform(32, visibility=True).rows(opened, np.arange(6), {}, 0, 0)
    np.testing.assert_array_equal(targets["visibility"], np.ones((6, 4)))


def test_a_damaged_file_is_one_line(split, tmp_path):
    np.save(split.folder / "visibility.npy", np.full((6, 4), 2, np.float32))
    with pytest.raises(UserError, match=r"visibility.npy holds a number outside 0…1"):
        open_dataset("dots", tmp_path).split("train")


def test_mirrored_faces_swap_their_labels(split):
    flipped = CropTransform(32, Augmentation(0, 0, 0, 1.0, 0, 0, 0, 0), visibility=True)
    _, targets = flipped.rows(split, np.array([0]), {}, 0, 0)
    np.testing.assert_array_equal(targets["visibility"][0], [0, 1, 1, np.nan])  # pairs (0, 1) and (2, 3)


def test_points_outside_of_the_crop_are_hidden(split):
    moved = CropTransform(32, Augmentation(0, 0, 0.45, 0, 0, 0, 0, 0), visibility=True)
    for epoch in range(20):
        _, targets = moved.rows(split, np.array([1]), {}, 0, epoch)
        outside = (np.abs(targets["landmarks"][0]) > 0.5).any(axis=1)
        assert (targets["visibility"][0][outside] == 0).all()
        if outside.any():
            return
    pytest.fail("no point left the crop")


def test_half_of_the_augmented_faces_are_covered_and_the_still_ones_are_not(split):
    view = CropTransform(32, Augmentation(colour=0.1), visibility=True)
    hidden = [view.rows(split, np.array([2]), {}, 0, epoch)[1]["visibility"].min() for epoch in range(30)]
    assert 3 < sum(value == 0 for value in hidden) < 27
    still = CropTransform(32, NO_AUGMENTATION, visibility=True)
    images, targets = still.rows(split, np.arange(6), {}, 0, 0)
    np.testing.assert_array_equal(targets["visibility"], split.visibility)
    np.testing.assert_array_equal(images, CropTransform(32).rows(split, np.arange(6), {}, 0, 0)[0])


def aflw_sample(hidden):
    points = (AFLW * 0.1)[:, :2] + 40
    points[list(hidden)] = np.nan
    known = np.isfinite(points[:, 0]).astype(np.float32)
    return Sample("a", points, "train", "yaw 0–30", "a", image, visibility=known)


def test_what_aflw_omits_is_hidden_also_where_the_two_schemes_differ():
    sample = in_scheme(aflw_sample([3, 4, 5, 9, 10, 11, 15]), AFLW21, W300)
    hidden = np.flatnonzero(sample.visibility == 0)
    assert hidden.tolist() == [22, 24, 26, 35, 42, 43, 44, 45, 46, 47]
    assert np.isnan(sample.visibility[:8]).all()  # AFLW has no jaw but the chin
    assert sample.visibility[[8, 30, 36, 48, 54]].tolist() == [1] * 5
    assert np.isnan(sample.landmarks[[42, 45], 0]).all()


def test_the_far_half_of_a_profile_of_cfp_is_hidden_and_that_of_a_frontal_face_unknown():
    half = np.random.default_rng(0).uniform(20, 60, (30, 2))
    half[0], half[21] = (10, 40), (70, 40)  # the subject's right half
    for subset, value in (("profile", 0.0), ("frontal", np.nan)):
        sample = in_scheme(Sample("c", half, "train", subset, "c", image), CFP30, W300)
        np.testing.assert_array_equal(sample.visibility[[45, 16, 26, 54, 35]], [value] * 5)
        assert sample.visibility[[0, 8, 30, 36, 33]].tolist() == [1] * 5
        assert np.isnan(sample.visibility[48])  # of the seen half, but not annotated in the scheme of CFP


def test_added_faces_bring_their_labels(tmp_path):
    own = Archive(W300)
    for i in range(12):
        points = face_landmarks("w300", 80, 0, i)
        own.samples.append(Sample(str(i), points, "train", "train", str(i), image))
    other = Archive(AFLW21, [aflw_sample([9, 10, 11])])
    prepare(add_faces(own, other), tmp_path / "w300", size=32)
    split = open_dataset("w300", tmp_path).split("train")
    assert (split.visibility[:12] == 1).all()
    assert np.flatnonzero(split.visibility[12] == 0).tolist() == [42, 43, 44, 45, 46, 47]


def test_aflw_in_68_points_is_a_dataset_of_its_own(tmp_path):
    samples = [aflw_sample(hidden) for hidden in ((), (9, 10, 11), (3,), (0, 1), (19,))]
    samples.append(aflw_sample(range(6)))
    archive = aflw_archive(Archive(AFLW21, samples))
    assert archive.scheme.default_normaliser == "box"
    assert set(archive.scheme.test_subsets) == set(AFLW21.test_subsets)
    prepare(archive, tmp_path / "aflw_w300", size=32)
    split = open_dataset("aflw_w300", tmp_path).split("train")
    assert np.isfinite(split.target[0, :, 0]).sum() == 8
    assert split.visibility.shape == (6, 68)
