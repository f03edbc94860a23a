"""The benchmark's figures are those of the network; times are only checked for being there."""

import json
import logging

import numpy as np
import pytest

from kd_loss.export.convert import to_litert
from kd_loss.networks import Card, build_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.speed.benchmark_command import BenchmarkOptions, run_benchmark
from kd_loss.speed.worker import milliseconds
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import quiet_stderr


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """A LiteRT file that answers with the same points for every face."""
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (68, 2))
    network = build_network(Card("mobileNetV2", 0.35, "synthetic", W300.to_dict(), 32, "student", 0.15))
    network.model.get_layer("head").set_weights([np.zeros((1280, 136)), points.reshape(-1)])
    path = tmp_path_factory.mktemp("benchmark") / "tiny.tflite"
    with quiet_stderr():
        to_litert(network, path, "fp32", None)
    return path, points


def test_the_command(network_file, data_folder, synthetic, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    path, points = network_file
    options = BenchmarkOptions(
        weights=[str(path)], threads=[1, 2], seconds=0.01, rounds=1, data=data_folder, output=tmp_path
    )
    results = run_benchmark(options)
    said, *each = caplog.messages
    assert said.startswith("2 measurements of three figures: at least 0 s")
    assert [line.partition(" thread")[0][-1] for line in each] == ["1", "2"]
    assert all(line.startswith("round 1 of 1: ") for line in each)
    rows = results["networks"]
    assert [(row["threads"], row["runtime"], row["size"]) for row in rows] == [(1, "LiteRT", 32), (2, "LiteRT", 32)]
    split = synthetic.split("test")
    truth, guess = split.to_source(split.landmarks), split.to_source(np.repeat(points[None], len(split), axis=0))
    distance = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    nme = 100 * (np.linalg.norm(guess - truth, axis=2).mean(axis=1) / distance).mean()
    for row in rows:
        assert row["nme"] == pytest.approx(nme, rel=1e-4)
        assert row["bytes"] == path.stat().st_size
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert 20 < row["memory_mb"] < 2000
    assert json.loads((tmp_path / "benchmark.json").read_text()) == results
    assert (tmp_path / "benchmark.png").read_bytes()[1:4] == b"PNG"
    assert "tiny.tflite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": []}, "give networks"),
        ({"weights": ["x.txt"]}, "x.txt is not a network"),
        ({"weights": ["x.onnx"]}, "no such weights: x.onnx"),
        ({"rounds": 0}, "--rounds"),
    ],
)
def test_bad_options_are_one_line(network_file, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_benchmark(BenchmarkOptions(**{"weights": [str(network_file[0])], "data": tmp_path, **changes}))


def test_milliseconds():
    calls = []
    assert len(milliseconds(lambda: calls.append(1), 0)) == 20
    assert len(calls) == 25
