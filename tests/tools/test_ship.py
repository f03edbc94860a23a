"""A trained network among the shipped ones."""

import json

import h5py
import pytest

from kd_loss.networks import Card, build_network, save_network
from kd_loss.runtimes.files import embedded_card
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, sha256
from tools.ship import ship, shipped_card, without_folders


def test_paths_of_a_machine_are_names():
    assert without_folders({"teachers": [{"weights": "/home/me/best.h5", "share": 1.0}], "of": "a/b"}) == {
        "teachers": [{"weights": "best.h5", "share": 1.0}],
        "of": "a/b",
    }


def test_facts_are_added_to_a_card():
    card = {"arch": "tiny", "training": {"seed": 0}, "metrics": {}, "license": ""}
    facts = {"license": "MIT", "training": {"data": "drawn", "seed": 9}, "metrics": {"test": {"nme": 3.0}}}
    assert shipped_card(card, facts) == {
        "arch": "tiny",
        "training": {"data": "drawn", "seed": 0},  # the run knows better
        "metrics": {"test": {"nme": 3.0}},
        "license": "MIT",
    }


def test_no_weights_without_a_licence(tmp_path):
    (tmp_path / "best.json").write_text(json.dumps({"training": {}, "metrics": {}, "license": ""}))
    with pytest.raises(UserError, match="best.h5 has no licence; give one in --facts"):
        ship(tmp_path / "best.h5", "mine", {}, "synthetic", tmp_path, tmp_path / "models")


@pytest.mark.slow
def test_a_student_with_its_exports(data_folder, tmp_path):
    weights = tmp_path / "best.h5"
    card = Card("mobileNetV2", 0.1, "synthetic", W300.to_dict(), 48, "student", 0.15, training={"seed": 0})
    save_network(build_network(card), weights)
    (tmp_path / "models" / "students").mkdir(parents=True)
    (tmp_path / "models" / "sums.json").write_text("{}")
    facts = {"license": "MIT", "training": {"data": "drawn"}}
    files = ship(weights, "mine", facts, "synthetic", data_folder, tmp_path / "models")
    names = ["mine.h5", "mine.json", "mine.tflite", "mine-int8.tflite", "mine.onnx", "mine-int8.onnx"]
    assert [path.name for path in files] == names
    assert read_json(tmp_path / "models" / "sums.json", "") == {
        f"students/{path.name}": sha256(path) for path in sorted(files[2:])
    }
    with h5py.File(files[0]) as file:
        assert file.attrs["license"] == "MIT"
        assert json.loads(file.attrs["provenance"]) == {"data": "drawn", "seed": 0}
    for path in files[2:]:
        assert (embedded_card(path) or {})["license"] == "MIT"
