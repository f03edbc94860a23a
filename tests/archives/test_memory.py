"""Faces in memory: arrays, pairs and `tf.data`, prepared to the same bytes as from a folder."""

import itertools

import numpy as np
import pytest

import kd_loss
from kd_loss.archives.memory import read_memory
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError
from tests.archives.archives import write_image

pytestmark = pytest.mark.quick

FACES, POINTS, HIGH, WIDE = 12, 5, 40, 60
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (FACES, HIGH, WIDE, 3)).astype(np.uint8)
LANDMARKS = RNG.uniform((10, 5), (50, 35), (FACES, POINTS, 2))
SPEC = LandmarkScheme("five", POINTS, pairs=((0, 1),))


def same(archive):
    assert len(archive.samples) == FACES
    assert not archive.problems
    for index, sample in enumerate(archive.samples):
        np.testing.assert_array_equal(sample.load(), IMAGES[index])
        np.testing.assert_allclose(sample.landmarks, LANDMARKS[index], atol=1e-9)
    return archive


def of_tf(batch=None):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LANDMARKS))
    return dataset.batch(batch) if batch else dataset


@pytest.mark.parametrize(
    "source",
    [
        lambda: (IMAGES, LANDMARKS),
        lambda: (IMAGES, LANDMARKS.reshape(FACES, -1)),
        lambda: (list(IMAGES), list(LANDMARKS)),
        lambda: (IMAGES.astype(np.float32), LANDMARKS),
        lambda: zip(IMAGES, LANDMARKS, strict=True),
        lambda: [(IMAGES[:5], LANDMARKS[:5]), (IMAGES[5:], LANDMARKS[5:])],
        of_tf,
        lambda: of_tf(5),
    ],
    ids=["arrays", "flat", "lists", "float", "generator", "batches", "tf.data", "batched tf.data"],
)
def test_the_same_faces_by_every_way(source):
    archive = same(read_memory(source(), SPEC, test_fraction=0.25))
    assert sum(sample.split == "test" for sample in archive.samples) == 3


@pytest.mark.parametrize(
    ("coordinates", "points"),
    [
        ("unit", (LANDMARKS + 0.5) / (WIDE, HIGH)),
        ("normalised", (LANDMARKS + 0.5) / (WIDE, HIGH) - 0.5),
        ((0, 255), (LANDMARKS + 0.5) / (WIDE, HIGH) * 255),
    ],
)
def test_coordinates_count_across_width_and_height(coordinates, points):
    same(read_memory((IMAGES, points), SPEC, coordinates=coordinates))


def test_a_scheme_is_made_where_none_is_given():
    assert read_memory((IMAGES, LANDMARKS), name="mine").scheme == LandmarkScheme("mine", POINTS)


def test_points_without_annotation_and_bad_faces():
    points = LANDMARKS.copy()
    points[0, 1] = np.nan
    points[1, :, 0] = np.nan
    archive = read_memory((IMAGES, points), SPEC)
    assert np.isnan(archive.samples[0].landmarks[1]).all()
    assert archive.problems == ["face 1: a coordinate is not a finite number"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((IMAGES / 255.0, LANDMARKS), r"image 0 of the source has values in 0…1; convert to 0…255"),
        ((IMAGES[..., 0], LANDMARKS), r"entry 0 of the source is not a pair"),
        ((IMAGES[..., :1], LANDMARKS), r"image 0 of the source is \(40, 60, 1\), not \(H, W, 3\)"),
        ((IMAGES, LANDMARKS[..., :1]), r"the points of face 0 of the source are \(5, 1\), not \(K, 2\)"),
        ((IMAGES, LANDMARKS[:3]), "12 images but the points of 3 faces"),
        ((IMAGES - 300.0, LANDMARKS), "not in 0…255"),
        ((IMAGES, [["a"] * 10] * FACES), "are not numbers"),
        ((IMAGES, LANDMARKS[:, :4]), "4 points a face, the scheme 'five' 5"),
        ([], "the source has no faces"),
        (7, "a source is .images, landmarks. or an iterable of such pairs, not a int"),
        ([IMAGES[0]], "entry 0 of the source is not a pair"),
    ],
)
def test_an_invalid_source_is_one_line(source, message):
    with pytest.raises(UserError, match=message) as caught:
        read_memory(source, SPEC)
    assert "\n" not in str(caught.value)


def test_tf_data_without_end():
    with pytest.raises(UserError, match="is infinite"):
        read_memory(of_tf().repeat(), SPEC)


def test_the_same_bytes_as_from_a_folder(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(FACES):
        write_image(folder / f"{index:08d}.png", IMAGES[index])
        np.save(folder / f"{index:08d}.npy", LANDMARKS[index])
    options = {"size": 32, "test_fraction": 0.25, "pairs": "given", "scheme": SPEC}
    kd_loss.prepare(source=folder, dataset="a", data=tmp_path / "data", **options)
    manifest = kd_loss.prepare(source=(IMAGES, LANDMARKS), dataset="b", data=tmp_path / "data", **options)
    assert manifest["spec"]["name"] == "b"
    for split, name in itertools.product(("train", "test"), ("images", "landmarks", "soft", "affine")):
        first, second = (tmp_path / "data" / dataset / split / f"{name}.npy" for dataset in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), (split, name)


def test_prepare_makes_a_scheme_of_faces_in_memory(tmp_path):
    manifest = kd_loss.prepare(
        source=zip(IMAGES, (LANDMARKS + 0.5) / (WIDE, HIGH), strict=True), dataset="mine", coordinates="unit", size=32,
        data=tmp_path,
    )  # fmt: skip
    assert (manifest["spec"]["name"], manifest["spec"]["points"]) == ("mine", POINTS)
    assert len(kd_loss.open_dataset("mine", tmp_path).split("train")) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": (IMAGES, LANDMARKS)}, "give the faces in memory a name"),
        ({"source": (IMAGES, LANDMARKS), "dataset": "a/b"}, "a/b"),
        ({"source": (IMAGES, LANDMARKS), "dataset": "w300"}, "5 points a face, the scheme 'w300' 68"),
        ({"source": (IMAGES, LANDMARKS), "dataset": "w300", "scheme": SPEC}, "'w300' is a benchmark"),
        ({"source": (IMAGES, LANDMARKS), "dataset": "pose_w300"}, "no head poses"),
        ({"source": "nowhere", "dataset": "a", "scheme": SPEC}, "nowhere"),
        ({"source": "nowhere", "coordinates": "unit"}, "coordinates are of faces in memory"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        kd_loss.prepare(**options, data=tmp_path)
    assert "\n" not in str(caught.value)
