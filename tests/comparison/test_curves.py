import numpy as np

from kd_loss.comparison import curves
from kd_loss.comparison.curves import curves_plot, errors_by_epoch
from kd_loss.evaluation.plots import new_axes


def _rows(training, held_out):
    return [{"epoch": i, "nme": a, "val_nme": b} for i, (a, b) in enumerate(zip(training, held_out, strict=True), 1)]


def test_columns_are_cut_to_the_shortest_seed():
    runs = [_rows([5, 4, 3], [6, 5, 4]), _rows([7, 6], [8, 7])]
    assert errors_by_epoch(runs, "val_nme").tolist() == [[6, 5], [8, 7]]
    assert errors_by_epoch(runs, "degrees").size == 0


def test_mean_band_and_teacher_are_drawn(monkeypatch):
    drawn = []

    def recorded(*size):
        figure, axes = new_axes(*size)
        drawn.append(axes)
        return figure, axes

    monkeypatch.setattr(curves, "new_axes", recorded)
    png = curves_plot({"none": [_rows([5, 4], [6, 5]), _rows([7, 6], [8, 7])]}, teacher=_rows([3, 2], [3, 4]))
    assert png is not None
    assert png[:4] == b"\x89PNG"
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in drawn[0].get_lines()}
    assert lines == {
        "none, held-out faces": [7, 6],
        "none, training faces, augmented": [6, 5],
        "teacher, held-out faces": [3, 3],
    }
    band = drawn[0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (5, 8)
    assert curves_plot({}) is None


def test_a_training_without_held_out_faces_has_one_curve():
    rows = [{"epoch": 1, "nme": 5.0}, {"epoch": 2, "nme": 4.0}]
    assert curves_plot({"none": [rows]}) is not None


def test_a_training_that_diverged_is_drawn_as_far_as_it_went():
    assert curves_plot({"none": [_rows([5, 4], [6, 5])], "kd": [_rows([5, np.nan], [6, np.nan])]}) is not None
    assert curves_plot({"kd": [_rows([np.nan], [np.nan])]}) is not None
