import dataclasses
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

from kd_loss.evaluation.landmark_content import tables_of
from kd_loss.evaluation.plots import ced_plot, point_plot
from kd_loss.evaluation.report import render_html
from kd_loss.evaluation.result import Result
from kd_loss.runs.history import history_plot
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.training.faces import TrainingFaces
from kd_loss.training.options import StudentOptions
from kd_loss.training.processes import Processes

PNG = b"\x89PNG"


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for key, value in attrs if key in ("src", "href")]


def test_the_page_is_self_contained_and_escapes():
    page = render_html(
        title="<b>",
        lines=["one"],
        tables=[{"title": "t", "header": ["a"], "rows": [["1"]]}],
        pictures=[{"title": "p", "text": "x", "png": b"\x89PNG"}],
        details={"d": "{}"},
    )
    links = Links()
    links.feed(page)
    assert links.sources
    assert all(source.startswith("data:image/png;base64,") for source in links.sources)
    assert "&lt;b&gt;" in page


def test_plots_are_pictures():
    rng = np.random.default_rng(0)
    errors = rng.uniform(2, 12, (20, 68))
    assert ced_plot({"a": errors.mean(axis=1)}).startswith(PNG)
    assert point_plot(errors, W300).startswith(PNG)
    rows = [{"epoch": 1.0, "loss": 1.0, "main": 1.0, "nme": 9.0, "val_nme": 8.0, "seconds": 1.0}] * 2
    assert history_plot(rows).startswith(PNG)


def test_a_history_of_zeros_is_drawn_without_a_warning():
    rows = [{"epoch": 1.0, "loss": 0.0, "margin": 0.0, "val_loss": 0.0, "seconds": 1.0}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert history_plot(rows).startswith(PNG)


def test_a_normaliser_of_points_that_no_face_has_is_omitted(synthetic):
    split = synthetic.split("test")
    landmarks = np.array(split.landmarks)
    landmarks[:, 37] = np.nan  # of the right pupil
    about = {"name": "a", "weights": "a.h5", "network": {}}
    partly = Result.of(dataclasses.replace(split, target=landmarks), np.array(split.landmarks), None, **about)
    assert [table["title"] for table in tables_of([partly])] != []
    assert not any("pupils" in table["title"] for table in tables_of([partly]))
    landmarks[:, 36] = np.nan  # an outer corner
    without = Result.of(dataclasses.replace(split, target=landmarks), np.array(split.landmarks), None, **about)
    with pytest.raises(UserError, match="no face of .* has the points of 'inter_ocular'"):
        tables_of([without])
    with pytest.raises(UserError, match="faces held out has the points that its error is normalised by"):
        train = dataclasses.replace(
            synthetic.split("train"), target=np.full_like(synthetic.split("train").landmarks, np.nan)
        )
        TrainingFaces(
            StudentOptions(validation=0.3),
            train,
            soft=False,
            visibility=False,
            answers={},
            unlabelled=None,
            processes=Processes(),
        )
