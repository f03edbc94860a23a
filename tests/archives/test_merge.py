import json

import cv2
import numpy as np
import pytest

from kd_loss.archives.merge import add_faces, translate
from kd_loss.archives.sample import Archive, Sample
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import holdout, open_dataset
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.schemes.benchmarks import CFP30, COFW, W300, WFLW
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

TARGET = {
    "name": "dots", "points": 4, "pairs": [[0, 1], [2, 3]], "normalisers": {"eyes": [[0], [1]]},
}  # fmt: skip


def test_the_points_of_wflw_that_are_of_300w():
    points = translate(np.stack([np.arange(98.0)] * 2, axis=1), WFLW, W300)
    # jaw: every other one; outer corners of the eyes 60, 72; tip of the nose 54; corners of the mouth 76, 82
    assert points[[0, 8, 16, 36, 45, 30, 48, 54], 0].tolist() == [0, 16, 32, 60, 72, 54, 76, 82]
    assert not np.isnan(points).any()


def test_a_larger_scheme_takes_the_faces_of_a_smaller_one():
    points = translate(np.stack([np.arange(68.0)] * 2, axis=1), W300, WFLW)
    assert points[[0, 16, 32, 60, 72, 54, 76, 82], 0].tolist() == [0, 8, 16, 36, 45, 30, 48, 54]
    assert int((~np.isnan(points[:, 0])).sum()) == 68


def test_cofw_and_the_schemes_that_hold_its_points():
    # its scheme alone has the tables: corners of the eyes 8 to 11, chin 28, pupils 16 and 17, which the 68 lack
    wflw = translate(np.stack([np.arange(98.0)] * 2, axis=1), WFLW, COFW)
    assert wflw[[8, 9, 10, 11, 16, 28], 0].tolist() == [60, 72, 64, 68, 96, 16]
    assert np.flatnonzero(np.isnan(wflw[:, 0])).tolist() == [5, 7]
    w300 = translate(np.stack([np.arange(68.0)] * 2, axis=1), W300, COFW)
    assert w300[[8, 9, 10, 11, 28], 0].tolist() == [36, 45, 39, 42, 8]
    assert int((~np.isnan(w300[:, 0])).sum()) == 21


def test_a_half_face_is_the_one_that_is_seen():
    half = np.zeros((30, 2))
    half[0], half[21] = (10, 5), (50, 5)  # the ear left of the nose: the subject's right half
    half[12] = (25, 4)
    right = translate(half, CFP30, W300)
    assert right[36].tolist() == [25, 4]
    assert np.isnan(right[45]).all()
    mirrored = half * [-1, 1]
    left = translate(mirrored, CFP30, W300)
    assert left[45].tolist() == [-25, 4]
    assert np.isnan(left[36]).all()
    assert right[0].tolist() == [10, 5]
    assert left[16].tolist() == [-10, 5]


def faces_csv(folder, count, rows):
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
        lines.append(",".join([f"{i}.png", *rows(rng)]))
    (folder / "faces.csv").write_text("\n".join(lines))
    return folder


def square(rng):
    return (np.array([[10, 10], [40, 10], [10, 40], [40, 40]]) + rng.uniform(-2, 2, (4, 2))).reshape(-1)


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A dataset of 30 whole faces, and 20 more of another scheme that has two of its four points."""
    folder = tmp_path_factory.mktemp("joined")
    whole = faces_csv(folder / "whole", 30, lambda rng: [f"{v:.2f}" for v in square(rng)])
    pair = faces_csv(folder / "pair", 20, lambda rng: [f"{v:.2f}" for v in square(rng)[:4]])
    (folder / "dots.json").write_text(json.dumps(TARGET))
    other = {"name": "pair", "points": 2, "same": {"dots": [0, 1]}}
    (folder / "pair.json").write_text(json.dumps(other))
    options = PrepareOptions(
        scheme=str(folder / "dots.json"),
        source=str(whole),
        extra_data=[f"{folder / 'pair.json'}={pair}"],
        size=32,
        data=folder,
    )
    run_prepare(options)
    return open_dataset("dots", folder), options, folder


def test_several_archives_are_one_training_set(joined):
    split = joined[0].split("train")
    assert split.partial
    extra = np.flatnonzero(split.extra)
    assert len(extra) == 20
    assert np.isnan(split.landmarks[extra, 2:]).all()
    assert not np.isnan(split.landmarks[extra, :2]).any()
    assert joined[0].manifest["counts"]["train"]["pair"] == 20
    assert not joined[0].split("test").partial
    # the crop is that of the whole face, though only its upper edge is annotated
    span = np.ptp(split.landmarks[:, :2, 0], axis=1)
    assert np.median(span[extra]) == pytest.approx(np.median(span[~split.extra]), rel=0.1)
    # soft landmarks are missing where the hard ones are
    np.testing.assert_array_equal(np.isnan(split.soft), np.isnan(split.landmarks))


def test_extra_faces_are_never_held_out_and_can_have_a_share(joined):
    split = joined[0].split("train")
    chosen, held = holdout(split, 0.3, 0)
    assert not split.extra[held].any()
    assert set(np.flatnonzero(split.extra)) <= set(chosen)
    own = int((~split.extra[chosen]).sum())
    faces = FaceSampler(split, chosen, shuffled=True, extra_share=0.25)
    loader = FaceLoader(faces, CropTransform(32, Augmentation()), batch_size=4)
    share = round(own / 3)
    assert len(loader) == (own + share) // 4
    seen = []
    for epoch in range(20 // share):
        order = faces.of(epoch)
        assert len(order) == own + share
        assert split.extra[order].sum() == share
        seen += [i for i in order if split.extra[i]]
    assert len(seen) > 10
    assert len(set(seen)) == len(seen)  # they take turns: none comes twice before all have come


def test_a_face_to_test_is_completed_though_all_to_train_are_whole(tmp_path):
    """Its crop does not depend on whether a training face is partly annotated, too."""
    squares = np.array([[20.0, 20], [60, 20], [60, 60], [20, 60]])
    rng = np.random.default_rng(0)
    archive, image = Archive(LandmarkScheme("dots", 4)), np.zeros((80, 80, 3), np.uint8)
    for index in range(13):
        points = squares + rng.normal(0, 1, (4, 2))
        if index == 12:
            points[2:] = np.nan
        split = "train" if index < 12 else "test"
        archive.samples.append(Sample(str(index), points, split, split, str(index), lambda: image))
    prepare(archive, tmp_path / "dots", size=32)
    [affine] = open_dataset("dots", tmp_path).split("test").affine
    assert 32 / affine[0, 0] == pytest.approx(40 * 1.3, rel=0.1)  # the side of the crop; of the two points alone too
    assert affine[1, 1] * 40 + affine[1, 2] == pytest.approx(16, abs=2)  # but not its middle


def test_an_epoch_with_fewer_faces_than_a_batch_is_one_batch(joined):
    split = joined[0].split("train")
    own, extra = np.flatnonzero(~split.extra)[:4], np.flatnonzero(split.extra)
    order = FaceSampler(split, np.concatenate([own, extra]), shuffled=True, extra_share=0.5)
    loader = FaceLoader(order, CropTransform(32), batch_size=len(own) + len(extra))
    assert len(order) == 8
    assert (len(loader), len(loader[0][0])) == (1, 8)


def test_a_scheme_without_a_map_to_the_other_is_one_line(joined):
    with pytest.raises(UserError, match="does not define which points of 'cofw' it contains .defined: w300"):
        add_faces(Archive(LandmarkScheme("cofw", 29)), Archive(CFP30))
    with pytest.raises(UserError, match="--extra-data cfp30 is not of the form"):
        run_prepare(PrepareOptions(**{**vars(joined[1]), "extra_data": ["cfp30"]}))


@pytest.mark.parametrize(
    ("same", "message"),
    [
        ([0], "one index or null per"),
        ([0, 0], "one index or null"),
        ([0, -1], "other than an index"),
        ([0, "a"], "an index"),
    ],
)
def test_a_bad_map_is_one_line(same, message):
    with pytest.raises(UserError, match=message):
        LandmarkScheme.from_dict({"name": "pair", "points": 2, "same": {"dots": same}})
