import numpy as np
import pytest

from kd_loss.datasets.augment import NO_AUGMENTATION, Augmentation, augment, warp
from kd_loss.imaging import geometry
from kd_loss.schemes.benchmarks import W300

pytestmark = pytest.mark.quick


def test_no_augmentation_changes_nothing():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    points = rng.uniform(-0.4, 0.4, (68, 2))
    out, moved = augment(image, points, 32, NO_AUGMENTATION, W300, rng)
    np.testing.assert_array_equal(out, image)
    np.testing.assert_allclose(moved, points)


def test_points_follow_the_picture():
    # a bright spot at a point is found again, after the same map, at the moved point
    rng = np.random.default_rng(1)
    for _ in range(20):
        affine, _ = Augmentation(flip=0.5).draw_affine(rng)
        image = np.zeros((96, 96, 3), np.uint8)
        image[38:43, 55:60] = 255
        point = geometry.normalise([[57, 40]], 96)
        seen = warp(image, affine, 64).astype(float)[..., 0]
        y, x = (np.average(grid, weights=seen) for grid in np.mgrid[:64, :64])
        np.testing.assert_allclose([x, y], geometry.denormalise(W300.move(point, affine, False), 64)[0], atol=0.2)


def test_mirroring_swaps_left_and_right():
    points = np.zeros((68, 2))
    points[36], points[45] = (-0.3, 0), (0.25, 0)
    mirror = geometry.similarity(0, 1, (0, 0), True)
    moved = W300.move(points, mirror, True)
    # the outer corner of the right eye is now what was that of the left one, mirrored
    np.testing.assert_allclose(moved[36], [-0.25, 0])
    np.testing.assert_allclose(moved[45], [0.3, 0])


def test_the_same_numbers_give_the_same_picture():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    points = np.zeros((68, 2))
    a, b = (augment(image, points, 40, Augmentation(), W300, np.random.default_rng((1, 2, 3))) for _ in "ab")
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def test_recolouring_by_hand():
    # all strengths 0 but grey: the grey of OpenCV, 0.299 R + 0.587 G + 0.114 B
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    out = Augmentation(colour=0, blur=0, grey=1, patch=0).recolour(image, np.random.default_rng(0))
    assert (out == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()


def test_a_patch_covers_part_of_the_picture():
    image = np.zeros((50, 50, 3), np.uint8)
    changed = [
        (Augmentation(colour=0, blur=0, grey=0, patch=1).recolour(image, np.random.default_rng(i)) > 0)
        .any(axis=-1)
        .mean()
        for i in range(50)
    ]
    assert 0 < max(changed) <= 0.35**2 + 0.01
    assert not image.any()


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_scaling_the_strength(strength):
    scaled = Augmentation().scaled(strength)
    assert scaled.rotation == 25 * strength
    assert scaled.flip == 0.5
