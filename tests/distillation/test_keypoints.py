"""L1 to L3 of landmark networks, on numbers that one can check by hand."""

import numpy as np
import pytest

from kd_loss.distillation import get_method
from kd_loss.distillation.keypoints import shared_in_cells_of
from kd_loss.networks.keypoint_detector import places
from kd_loss.system.errors import UserError
from kd_loss.training.distiller import Distiller
from tests.distillation.test_contract import SPEC, TRUTH, student_and_teachers

FAR = -1e4  # before the softmax: no mass


def maps(cell):
    """Heatmaps (1, 2, 2, 1) with all of their mass in one of four cells."""
    values = np.full((1, 4, 1), FAR, np.float32)
    values[0, cell] = 0
    return values.reshape(1, 2, 2, 1)


def keypoint_method(loss, **parameters):
    method = get_method("keypoints", {"loss": loss, **parameters})
    method.shares = {"tough": 1.0}
    return method


def test_the_truth_takes_no_part():
    """A tenth of the crop aside is a fifth of the grid: (0.2² + 0) / 2."""
    method = keypoint_method("L1")
    mine, theirs = ({"landmarks": np.array([[[x, 0.0]]], np.float32)} for x in (0.1, 0.0))
    for truth in (0.0, 0.4):
        [(name, value)] = method.terms(np.full((1, 1, 2), truth), mine, {"tough": theirs}).items()
        assert (name, np.asarray(value)) == ("value", pytest.approx([0.02]))
    assert method.distilling_terms == method.term_names == ("value",)


def test_heatmaps_that_share_no_cell():
    """1² + 1² over the cells; their mean to the letter; 0 where they agree."""
    point = np.zeros((1, 1, 2), np.float32)
    mine, theirs = ({"landmarks": point, "heatmaps": maps(cell)} for cell in (0, 3))
    for letter, apart in ((False, 2.0), (True, 0.5)):
        method = keypoint_method("L2", as_published=letter)
        assert np.asarray(method.terms(point, mine, {"tough": theirs})["heatmaps"]) == pytest.approx([apart])
        assert np.asarray(method.terms(point, mine, {"tough": mine})["heatmaps"]) == pytest.approx([0])


def test_mass_between_two_cells_is_shared_by_hand():
    """Three cells at −1, 0, 1 in two at −1, 1: the middle one's mass goes to both halves, in both directions."""
    theirs = np.array([[0, 0, 0], [0, 0.4, 0.2], [0.1, 0.3, 0]], np.float32).reshape(1, 3, 3, 1)
    mine = np.zeros((1, 2, 2, 1), np.float32)
    shared = np.asarray(shared_in_cells_of(mine, theirs))[0, :, :, 0]
    #   rows first: [0, .2, .1], [.1, .5, .1]
    np.testing.assert_allclose(shared, [[0.1, 0.2], [0.1 + 0.25, 0.25 + 0.1]], atol=1e-6)


@pytest.mark.parametrize(("of", "side"), [(29, 8), (58, 16), (8, 29), (29, 29), (5, 1)])
def test_a_detectors_maps_keep_sum_and_expectation(of, side):
    """29 → 8 cells, those of the small student, stretched expectations by a tenth when resized by half pixels."""
    rng = np.random.default_rng(of)
    theirs = rng.dirichlet(np.full(of * of, 0.02), 6).T.reshape(1, of, of, 6).astype(np.float32)
    mine = np.zeros((1, side, side, 6), np.float32)
    shared = np.asarray(shared_in_cells_of(mine, theirs))

    def expectation(maps, cells):
        return places(cells, cells).T @ maps.reshape(cells * cells, 6)

    np.testing.assert_allclose(shared.sum(axis=(1, 2)), 1, atol=1e-5)
    if side > 1:
        np.testing.assert_allclose(expectation(shared, side), expectation(theirs, of), atol=1e-5)


def test_l3_reads_the_encoders_and_trains_its_connector():
    student, teachers = student_and_teachers(head="heatmap", cut="P4")
    method = get_method("keypoints", {"loss": "L3", "attention": 3.0})
    assert method.student_taps == ("landmarks", "heatmaps", "P4")
    distiller = Distiller(
        student=student, methods={method: 1.0}, teachers={"tough": teachers["tough"]}, scheme=SPEC, kinds=1
    )
    assert distiller.objective == "1·value + 1·heatmaps + 3·attention"
    images = np.random.default_rng(3).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    distiller.compile(optimizer="adam")
    before = [np.array(w) for w in method.connectors["tough"].get_weights()]
    logs = distiller.train_on_batch(images, {"landmarks": TRUTH}, return_dict=True)
    assert logs["attention"] > 0
    assert any((a != b).any() for a, b in zip(before, method.connectors["tough"].get_weights(), strict=True))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "L4"}, "unknown keypoints.loss 'L4': valid: L1, L2, L3"),
        ({"tap": "embedding"}, "unknown keypoints.tap 'embedding': valid: P2, P3, P4, P5"),
        ({"power": 0.0}, "keypoints.power = 0.0 is not positive"),
        ({"heatmaps": -1.0}, "keypoints: heatmaps = -1|keypoints.heatmaps = -1"),
    ],
)
def test_parameters_that_mean_nothing(parameters, message):
    with pytest.raises(UserError, match=message):
        get_method("keypoints", parameters)
