"""The whole job on a handful of tiny drawn faces, and on real ones where they are."""

import json

import numpy as np
import pytest

from kd_loss.archives.cofw import read_cofw
from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.demo.demo_command import DemoOptions, run_demo
from kd_loss.evaluation.test_command import EvaluationOptions, run_test
from kd_loss.networks import load_network
from kd_loss.system.errors import UserError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demonstration of 64 faces of 32 px and one epoch, with the smallest of networks."""
    root = tmp_path_factory.mktemp("demo") / "runs"
    run_demo(DemoOptions(faces=64, size=32, epochs=1, student_epochs=1, arch="tiny", output=root))
    return root


def test_the_demo_leaves_a_report_and_what_it_is_made_of(demo):
    names = {p.name for p in demo.iterdir()}
    assert names >= {"report.html", "metrics.json", "worst.png", "ced.png", "soft.png", "curves.png", "predictions"}
    metrics = json.loads((demo / "metrics.json").read_text())
    assert [n["name"] for n in metrics["networks"]] == [
        "student, KD-Loss, from the teacher's trunk", "student alone, from the teacher's trunk", "student alone",
        "tough teacher", "tolerant teacher",
    ]  # fmt: skip
    score = metrics["networks"][0]["scores"]["inter_ocular"]["full"]
    assert 0 < score["low"] < score["nme"] < score["high"]
    written = {p.name for p in (demo / "predictions").iterdir()}
    assert written == {"face.png", "face.json", "face.pts", "faces.csv", ".kd-loss-files"}


def test_testing_finds_the_others_by_itself_and_agrees_with_the_demo(demo):
    weights = demo / "runs" / "synthetic" / "student-kd_loss" / "best.h5"
    metrics = run_test(
        EvaluationOptions(
            weights=[str(weights)], dataset="synthetic", data=demo / "data", runs=demo / "runs", compare_with_runs=True
        )
    )
    names = [n["name"] for n in metrics["networks"]]
    assert names[0] == "student-kd_loss"
    assert len(names) == 4
    before = json.loads((demo / "metrics.json").read_text())["networks"][0]["scores"]
    assert metrics["networks"][0]["scores"] == before
    assert (weights.parent / "report.html").is_file()


def test_weights_of_another_scheme_or_crop_are_one_line(demo, tmp_path):
    from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare

    weights = demo / "runs" / "synthetic" / "student-none" / "best.h5"
    run_prepare(PrepareOptions(dataset="synthetic_cofw", count=8, size=32, data=tmp_path))
    options = EvaluationOptions(weights=[str(weights)], dataset="synthetic_cofw", data=tmp_path, runs=tmp_path)
    with pytest.raises(UserError, match="predicts 68 points .* has 29"):
        run_test(options)
    run_prepare(PrepareOptions(dataset="synthetic", count=8, size=32, data=tmp_path, margin=0.4))
    options = EvaluationOptions(weights=[str(weights)], dataset="synthetic", data=tmp_path, runs=tmp_path)
    with pytest.raises(UserError, match="run kd-loss prepare with --margin 0.15"):
        run_test(options)


def test_the_card_has_the_networks_accuracy(demo):
    card = load_network(demo / "runs" / "synthetic" / "student-kd_loss" / "best.h5").card
    assert card.metrics["validation_nme"] > 0
    assert card.training["faces"] + card.training["held_out"] == 64


def test_real_archives(real_faces):
    w300 = read_w300(real_faces / "300W")
    assert (len(w300.samples), w300.problems) == (2566, [])
    wflw = read_wflw(real_faces / "WFLW")
    assert (len(wflw.samples), wflw.problems) == (408, [])
    cofw = read_cofw(real_faces / "COFW")
    assert (len(cofw.samples), cofw.problems) == (101, [])
    for archive in (w300, wflw, cofw):
        sample = archive.samples[0]
        height, width = sample.load().shape[:2]
        inside = (sample.landmarks > -1).all(axis=1) & (sample.landmarks < (width, height)).all(axis=1)
        assert np.mean(inside) > 0.9
