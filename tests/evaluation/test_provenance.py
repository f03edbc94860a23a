"""`test` on a dataset that was prepared anew after the training."""

import dataclasses

import pytest

from kd_loss.archives.synthetic import draw_archive
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.seen_faces import write_prints
from kd_loss.evaluation.test_command import EvaluationOptions, run_test
from kd_loss.networks import Card, build_network, save_network
from kd_loss.runs.folder import data_record
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError


@pytest.fixture
def options(data_folder, tmp_path):
    """A network of the dataset `synthetic`, as its training left it."""
    dataset = open_dataset("synthetic", data_folder)
    card = Card("tiny", 1.0, "synthetic", W300.to_dict(), 32, "student", 0.15, training=dict(data_record(dataset)))
    save_network(build_network(card), tmp_path / "a.h5")
    write_prints(dataset.split("train"), tmp_path)
    return EvaluationOptions(
        weights=[str(tmp_path / "a.h5")], dataset="synthetic", data=data_folder, output=str(tmp_path / "out")
    )


def anew(folder, count, seed=0, name="synthetic"):
    prepare(draw_archive("synthetic", count, 48, 0.15, seed), folder / name, size=48)
    return folder


def test_the_same_data_are_nothing_to_tell(options, capsys):
    assert "notes" not in run_test(options)["networks"][0]
    assert "another preparation" not in capsys.readouterr().out


def test_other_faces_are_reported(options, tmp_path, capsys):
    metrics = run_test(dataclasses.replace(options, data=anew(tmp_path / "new", 20, seed=7)))
    line = "a.h5 was trained on another preparation of synthetic: other faces, options or version"
    assert line in metrics["networks"][0]["notes"][0]
    assert line in capsys.readouterr().out
    assert line in (tmp_path / "out" / "report.html").read_text()


def test_a_training_face_is_no_test_face(options, tmp_path):
    """Of 40 training faces the 21st to 25th are for the test now."""
    data = anew(tmp_path / "new", 20)
    with pytest.raises(UserError, match=r"was trained on 5 of the 5 test faces of .*synthetic \(first: 0/20\); train"):
        run_test(dataclasses.replace(options, data=data))
    assert run_test(dataclasses.replace(options, data=data, split="train"))["faces"] == 20


def test_a_training_face_among_those_of_another_dataset_is_reported(options, tmp_path, capsys):
    data = anew(tmp_path / "new", 20, name="other")
    metrics = run_test(dataclasses.replace(options, data=data, dataset="other"))
    assert "was trained on 5 of the 5 test faces" in metrics["networks"][0]["notes"][0]
    assert "was trained on 5 of the 5 test faces" in capsys.readouterr().out
