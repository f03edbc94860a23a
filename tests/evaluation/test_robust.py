"""`test` beside what is not its own: foreign files in the folder of the results, other runs' cards, NaN answers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_loss.comparison.draw_loss import CurvesOptions, run_curves
from kd_loss.evaluation.test_command import EvaluationOptions, run_test
from kd_loss.networks import Card, build_network, save_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.system.files import write_json


@pytest.fixture(scope="module")
def options(data_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    save_network(build_network(Card("tiny", 1.0, "synthetic", W300.to_dict(), 32, "student", 0.15)), folder / "a.h5")
    return EvaluationOptions(
        weights=[str(folder / "a.h5")], dataset="synthetic", data=data_folder, runs=folder / "runs"
    )  # fmt: skip


def test_foreign_files_in_the_folder_of_the_results(options, tmp_path, caplog):
    (tmp_path / "history.csv").write_text("name,age\nme,7\n")
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    metrics = run_test(dataclasses.replace(options, output=str(tmp_path)))
    assert metrics["faces"] == 10
    assert "history.csv is not the history of a training" in caplog.text
    assert (tmp_path / "config.json").read_bytes() == b"\xff\xfe"
    assert run_test(dataclasses.replace(options, output=str(tmp_path)))["faces"] == 10  # its own are replaced


def test_the_distance_to_a_teacher(options, tmp_path, capsys):
    """A network is 0 away from itself; one whose bias is 0.05 larger on both axes: √2 · 0.05 of a crop, twice."""
    network = build_network(Card("tiny", 1.0, "synthetic", W300.to_dict(), 32, "student", 0.15))
    head = network.model.get_layer("head")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + 0.05])
    save_network(network, tmp_path / "moved.h5")
    weights = [*options.weights, str(tmp_path / "moved.h5")]
    mine = dataclasses.replace(options, weights=weights, teacher=weights[0], output=str(tmp_path / "out"))
    own, moved, teacher = run_test(mine)["networks"]
    assert own["akd"] == pytest.approx(0, abs=1e-6)
    assert moved["akd"] == pytest.approx(2 * 0.05 * 2**0.5, rel=1e-4)
    assert "akd" not in teacher
    assert "distance to the teacher" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match="no such weights: nowhere.h5"):
        run_test(dataclasses.replace(mine, reference="nowhere.h5", weights=["neither.h5"]))


@pytest.mark.parametrize("name", ["report.html", "metrics.json", "curves.png"])
def test_a_report_of_the_users_is_not_replaced(options, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_test(dataclasses.replace(options, output=str(tmp_path)))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_card_of_another_run_without_a_training(options, tmp_path):
    other = options.runs / "synthetic" / "other"
    other.mkdir(parents=True)
    (other / "best.h5").write_text("")
    write_json(other / "best.json", {"role": "student", "training": None})
    write_json(other / "finished.json", {})
    assert run_test(dataclasses.replace(options, output=str(tmp_path)))["faces"] == 10


def test_answers_that_are_no_numbers_are_no_success(options, tmp_path):
    network = build_network(Card("tiny", 1.0, "synthetic", W300.to_dict(), 32, "student", 0.15))
    head = network.model.get_layer("head")
    kernel, bias = head.get_weights()
    bias[5] = np.nan
    head.set_weights([kernel, bias])
    save_network(network, tmp_path / "nan.h5")
    with pytest.raises(UserError, match="nan.h5 returns numbers that are not finite"):
        run_test(dataclasses.replace(options, weights=[str(tmp_path / "nan.h5")], output=str(tmp_path / "out")))


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"nme": float("nan"), "rows": [1.5, float("inf")], "ok": (2, "x")})
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail) == {
        "nme": None, "rows": [1.5, None], "ok": [2, "x"]
    }  # fmt: skip


def test_a_picture_of_the_users_is_not_replaced_by_curves(tmp_path):
    (tmp_path / "k.png").write_text("mine")
    with pytest.raises(UserError, match="k.png already exists, and kd-loss did not write it"):
        run_curves(CurvesOptions(output=tmp_path / "k.png"))
    assert (tmp_path / "k.png").read_text() == "mine"


def test_the_drawing_of_the_documentation_has_todays_weights(tmp_path):
    """A stale one showed the weight that its text warns of."""
    options = CurvesOptions(output=tmp_path / "k.png")
    drawn = Image.open(run_curves(options)).text["Description"]
    assert drawn == "KD-Loss with weights 2.5, 1, 1; errors of the teachers 0.02 and 0.04"
    assert Image.open(Path(__file__).parents[2] / "docs" / "pictures" / "kd_loss.png").text["Description"] == drawn
