"""Official subsets, complete or not, and the published figures beside them."""

import dataclasses

import numpy as np
import pytest

from kd_loss.evaluation import landmark_content, report_content
from kd_loss.evaluation.landmark_content import tables_of
from kd_loss.evaluation.official import complete_rows, labels_of, official_rows
from kd_loss.evaluation.plots import ced_plot
from kd_loss.evaluation.published import PUBLISHED, beside_published
from kd_loss.evaluation.report import PUBLISHED_TITLE
from kd_loss.evaluation.report_content import lines_of, metrics_of
from kd_loss.evaluation.result import Result
from kd_loss.schemes.benchmarks import COFW, LANDMARK_SCHEMES, W300, WFLW

#: 300W with an official test set of ten faces
SMALL = dataclasses.replace(W300, official={"helen/testset": 4, "lfpw/testset": 3, "ibug": 3})


def split_of(synthetic, subsets, scheme=SMALL):
    return dataclasses.replace(synthetic.split("test"), scheme=scheme, subset=np.array(subsets))


def result_of(split):
    about = {"name": "own", "weights": "a.h5", "network": {"parameters": 650_000, "arch": "a", "size": 32}}
    return Result.of(split, np.array(split.landmarks), None, **about)


def test_subset_by_subset_not_all_or_nothing(synthetic):
    split = split_of(synthetic, ["helen/testset"] * 4 + ["lfpw/testset"] * 3 + ["ibug"] * 2 + ["x"])
    rows = official_rows(split)
    assert {name: (row.found, row.faces, row.complete) for name, row in rows.items()} == {
        "common": (7, 7, True),
        "challenging": (2, 3, False),
    }  # not `full`: a face among its ten is of no official subset
    assert labels_of(split) == {
        "common": "common (official, 7 of 7)", "challenging": "challenging (2 of 3)", "full": "full"
    }  # fmt: skip


def test_the_number_of_faces_is_not_enough(synthetic):
    """Seven faces, but six of HELEN where four are official."""
    split = split_of(synthetic, ["helen/testset"] * 6 + ["lfpw/testset"] + ["ibug"] * 3)
    assert complete_rows(split) == ["challenging"]
    assert complete_rows(split_of(synthetic, ["helen/testset"] * 4 + ["lfpw/testset"] * 3 + ["ibug"] * 3)) == [
        "common", "challenging", "full"
    ]  # fmt: skip
    assert official_rows(synthetic.split("test")) == {}


def test_faces_of_an_attribute(synthetic, tmp_path):
    """WFLW's subsets are flags of the test faces."""
    scheme = dataclasses.replace(W300, official={"test": 10, "pose": 2}, test_subsets=WFLW.test_subsets)
    np.save(tmp_path / "attribute-pose.npy", np.array([1, 1] + [0] * 8))
    split = dataclasses.replace(split_of(synthetic, ["test"] * 10, scheme), folder=tmp_path)
    assert complete_rows(split) == ["pose", "full"]


def test_published_figures_accompany_complete_subsets_only(synthetic):
    result = result_of(split_of(synthetic, ["helen/testset"] * 4 + ["lfpw/testset"] * 3 + ["ibug"] * 2 + ["x"]))
    tables = tables_of([result])
    assert tables[0]["header"][1:4] == ["common (official, 7 of 7)", "challenging (2 of 3)", "full"]
    [table] = [t for t in tables if t["title"].startswith(PUBLISHED_TITLE)]
    assert table["header"] == ["network", "parameters", "common", "source"]
    rows = {row[0]: row[1:] for row in table["rows"]}
    assert rows["own"] == ["0.65 M", "0.00", "measured here"]
    assert rows["KD-Loss: student"][:2] == ["2.40 M", "3.56"]
    assert rows["MobileFAN with distillation (not verified)"][1] == "2.98"
    assert "PIPNet, ResNet-18" not in rows  # known over all 689 faces alone
    assert any(line.startswith("Official and complete: common.") for line in lines_of([result]))
    assert metrics_of([result])["official"]["common"] == {"row": "common", "found": 7, "faces": 7, "complete": True}


def test_size_and_error_are_plotted_among_published_networks(synthetic, monkeypatch):
    drawn = []
    monkeypatch.setattr(landmark_content, "size_plot", lambda *about: drawn.append(about) or b"png")
    result = result_of(split_of(synthetic, ["helen/testset"] * 4 + ["lfpw/testset"] * 3 + ["ibug"] * 3))
    [picture] = landmark_content.published_picture([result])
    assert (picture.name, picture.png) == ("published", b"png")
    [(own, others, words)] = drawn
    assert own == [("own", 0.65, 0.0)]
    assert ("KD-Loss: student", 2.4, 3.56) in others
    assert "PFLD 1X" not in {name for name, *_ in others}  # its size is not published
    assert "common" in words


def test_published_failures_are_plotted_where_all_faces_are_one_official_subset(synthetic, monkeypatch):
    given = []
    monkeypatch.setattr(report_content, "ced_plot", lambda errors, published, **_: given.append(published) or b"png")
    for last in (["ibug"] * 3, ["ibug"] * 2 + ["x"]):
        split = split_of(synthetic, ["helen/testset"] * 4 + ["lfpw/testset"] * 3 + last)
        landmark_content.error_curves([result_of(split)])
    assert given[0]["KD-Loss: student"] == 0.87
    assert given[1] == {}
    assert ced_plot({"own": np.array([3.0, 12.0])}, published=given[0]).startswith(b"\x89PNG")


def test_other_faces_have_none(synthetic):
    result = result_of(split_of(synthetic, ["helen/testset"] * 3 + ["x"] * 7))
    assert landmark_content.published_picture([result]) == []
    assert not [t for t in tables_of([result]) if t["title"].startswith(PUBLISHED_TITLE)]
    assert any("No official subset is complete" in line for line in lines_of([result]))


def test_the_authors_figures_of_wflw_accompany_those_by_pupils():
    by = {
        normaliser: beside_published("wflw", normaliser, ["full", "pose"], [("own", None, {"full": 5.0})])
        for normaliser in ("inter_pupil", "inter_ocular", "box")
    }
    assert ["KD-Loss: student", "2.50 M", "8.57", "15.06", "Fard & Mahoor, CVIU 2022"] in by["inter_pupil"]["rows"]
    assert not [row for row in by["inter_ocular"]["rows"] if row[0].startswith("KD-Loss")]
    assert by["inter_ocular"]["rows"][0] == ["own", "–", "5.00", "–", "measured here"]
    assert by["box"] is None


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_table_of_figures_is_consistent(dataset):
    scheme = LANDMARK_SCHEMES[dataset]
    known = {*scheme.test_subsets, *scheme.official}
    for entry in PUBLISHED[dataset]:
        assert entry.source
        assert entry.nme.keys() <= known
        assert entry.normaliser in scheme.normalisers
        assert all(1 < value < 25 for value in entry.nme.values())
    assert len({(entry.who, entry.normaliser) for entry in PUBLISHED[dataset]}) == len(PUBLISHED[dataset])


def test_official_numbers_of_faces():
    common = [W300.official[subset] for subset in W300.test_subsets["common"]]
    assert (sum(common), sum(W300.official[s] for s in W300.test_subsets["full"])) == (554, 689)
    assert (COFW.official["test"], WFLW.official["test"]) == (507, 2500)
