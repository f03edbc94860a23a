import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_loss.imaging import geometry

pytestmark = pytest.mark.quick

number = st.floats(-1000, 1000, allow_nan=False)
points = st.lists(st.tuples(number, number), min_size=1, max_size=8).map(np.array)


def test_the_first_and_last_pixel_centres_of_a_crop_of_four():
    # pixels 0…3 of a crop of 4: centres at 1/8, 3/8, 5/8, 7/8 of its width
    np.testing.assert_allclose(geometry.normalise([[0, 3]], 4), [[-0.375, 0.375]])


@given(points, st.integers(2, 512))
def test_normalise_and_back(p, size):
    np.testing.assert_allclose(geometry.denormalise(geometry.normalise(p, size), size), p, atol=1e-9)


@given(points, st.integers(2, 300), st.integers(2, 300))
def test_resizing_does_not_change_normalised_coordinates(p, a, b):
    # the pixel map of an image resized from a to b, as OpenCV has it
    resized = (p + 0.5) * b / a - 0.5
    np.testing.assert_allclose(geometry.normalise(resized, b), geometry.normalise(p, a), atol=1e-9)


def test_square_crop_by_hand():
    # a box of 10 × 20 at (0, 0): centre (5, 10), side 20 · 1.5 = 30
    np.testing.assert_allclose(geometry.square_crop((0, 0, 10, 20), 0.25), [-10, -5, 30])


def test_crop_affine_maps_the_corner_of_the_square_to_the_corner_of_the_crop():
    affine = geometry.crop_affine((10, 20, 50), 100)
    np.testing.assert_allclose(geometry.apply(affine, [[10, 20], [60, 70]]), [[-0.5, -0.5], [99.5, 99.5]])


def test_normalised_and_pixel_crop_agree():
    square, p = np.array([3.0, -7.0, 41.0]), np.array([[12.0, 5.0], [40.0, 30.0]])
    pixel = geometry.apply(geometry.crop_affine(square, 96), p)
    direct = geometry.apply(geometry.normalised_affine(square), p)
    np.testing.assert_allclose(geometry.normalise(pixel, 96), direct, atol=1e-12)


def test_a_quarter_turn_takes_right_to_down():
    affine = geometry.similarity(np.pi / 2, 1, (0, 0), flip=False)
    np.testing.assert_allclose(geometry.apply(affine, [[1, 0]]), [[0, 1]], atol=1e-12)


def test_a_flip_mirrors_x_alone():
    np.testing.assert_allclose(
        geometry.apply(geometry.similarity(0, 1, (0, 0), flip=True), [[0.2, 0.3]]), [[-0.2, 0.3]]
    )


similarities = st.builds(
    geometry.similarity,
    st.floats(-3, 3),
    st.floats(0.5, 2),
    st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    st.booleans(),
)


@given(similarities, points)
def test_inverse(affine, p):
    np.testing.assert_allclose(geometry.apply(geometry.invert(affine), geometry.apply(affine, p)), p, atol=1e-6)


@given(similarities, similarities, points)
def test_compose_is_one_after_the_other(a, b, p):
    np.testing.assert_allclose(
        geometry.apply(geometry.compose(a, b), p), geometry.apply(a, geometry.apply(b, p)), atol=1e-6
    )


@given(
    similarities,
    st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(20, 400)),
    st.lists(st.tuples(st.floats(-50, 400), st.floats(-50, 400)), min_size=1, max_size=5).map(np.array),
)
def test_the_way_through_crop_and_augmentation_and_back_costs_less_than_a_hundredth_of_a_pixel(augmentation, square, p):
    into = geometry.normalised_affine(square)
    # float32 on the way, as in a prepared dataset
    stored = geometry.apply(into, p).astype(np.float32)
    seen = geometry.apply(augmentation, stored).astype(np.float32)
    back = geometry.apply(geometry.invert(geometry.compose(augmentation, into)), seen)
    assert np.abs(back - p).max() < 0.01


def test_pixel_affine_by_hand():
    # mirroring a crop of 10 pixels: pixel 0 goes to pixel 9
    affine = geometry.pixel_affine(geometry.similarity(0, 1, (0, 0), True), 10, 10)
    np.testing.assert_allclose(geometry.apply(affine, [[0, 4]]), [[9, 4]], atol=1e-12)


def test_a_similarity_is_found_again():
    turn = geometry.similarity(0.3, 1.7, (4, -2), False)
    points = np.random.default_rng(1).normal(size=(5, 2))
    np.testing.assert_allclose(geometry.fit_similarity(points, geometry.apply(turn, points)), turn, atol=1e-9)


def test_points_of_no_similarity_are_met_as_well_as_can_be():
    """Three corners of a square, of which one is pushed outwards: no turn, and a scale between."""
    source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    affine = geometry.fit_similarity(source, source * [2.0, 1.0])
    np.testing.assert_allclose(affine, [[1.5, 0, 0.25], [0, 1.5, -0.25]])
