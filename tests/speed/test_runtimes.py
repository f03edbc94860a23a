"""The benchmark's figures are those of the network; times are only checked for being there."""

import json
import sys

import numpy as np
import pytest

from kd_loss.export.convert import to_litert
from kd_loss.networks import Card, build_network
from kd_loss.schemes.spec import W300
from kd_loss.speed.command import run_benchmark
from kd_loss.speed.options import BenchmarkOptions
from kd_loss.speed.peers import ask_peer, measure_peer, own_frames, parse_peer, same_face
from kd_loss.speed.worker import milliseconds
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import quiet_stderr

PEER = """
import sys, numpy as np
names = open(sys.argv[1]).read().splitlines()
truth = dict(np.load({truth!r}, allow_pickle=True).item())
points = np.array([truth[name.rpartition("/")[2]][[0, 16, 8, 27, 36, 45, 30, 48, 54, 57]] * {factor} for name in names])
points[{lost}] = np.nan
np.savez(sys.argv[2], landmarks=points, milliseconds=np.arange(len(names)) + 1.0)
"""


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


def test_the_command(network_file, data_folder, synthetic, tmp_path, capsys):
    path, points = network_file
    options = BenchmarkOptions(
        weights=[str(path)], threads=[1, 2], seconds=0.01, rounds=1, data=data_folder, output=tmp_path
    )
    results = run_benchmark(options)
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
        ({"peer": ["mediapipe=python"]}, "peers need the prepared dataset and --source"),
    ],
)
def test_bad_options_are_one_line(network_file, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_benchmark(BenchmarkOptions(**{"weights": [str(network_file[0])], "data": tmp_path, **changes}))


def test_milliseconds():
    calls = []
    assert len(milliseconds(lambda: calls.append(1), 0)) == 20
    assert len(calls) == 25


def test_a_peer_of_other_points(synthetic, tmp_path):
    """Ten of the true points of pictures twice as large: a linear map finds what is linear in them."""
    photographs = tmp_path / "photographs"
    truth = {}
    for name in ("train", "test"):
        split = synthetic.split(name)
        for file, landmarks in zip(split.name, split.to_source(split.landmarks), strict=True):
            path = photographs / str(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
            truth[path.name] = landmarks
    np.save(tmp_path / "truth.npy", truth, allow_pickle=True)
    script = tmp_path / "peer.py"
    script.write_text(PEER.format(truth=str(tmp_path / "truth.npy"), factor=1, lost="-1:"))
    row = measure_peer(f"{sys.executable}:{script}", synthetic, photographs)
    assert (row["name"], row["points"]) == ("peer", 10)
    assert row["found"] == pytest.approx(0.9)
    assert row["p50_ms"] == 5.5  # of 1 … 10
    assert 0 < row["nme"] < 8


def test_somebody_elses_face_does_not_count():
    face = np.random.default_rng(0).uniform(100, 200, (1, 68, 2))
    for points, expected in ((face[:, :10], True), (face + 80, False), (face * 4 - 450, False), (face * np.nan, False)):
        assert same_face(points, face).tolist() == [expected]


def test_frames_are_the_peers_own():
    square = np.array([[[10.0, 20.0], [30.0, 20.0], [30.0, 40.0], [10.0, 40.0]]])
    [frame] = own_frames(square)
    np.testing.assert_allclose(
        square[0] @ frame[:, :2].T + frame[:, 2], [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
    )


def test_a_peer_that_fails_is_one_line(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no camera')")
    assert parse_peer(f"python:{script}") == ("broken", ["python", str(script)])
    with pytest.raises(UserError, match=r"the peer .*broken.py failed: no camera"):
        ask_peer([sys.executable, str(script)], [])
    with pytest.raises(UserError, match="cannot run nowhere"):
        ask_peer(["nowhere", str(script)], [])
    for text in ("nobody=python", "python:nothing.py"):
        with pytest.raises(UserError, match="is neither mediapipe=PYTHON nor dlib=PYTHON nor kd_loss=PYTHON nor"):
            parse_peer(text)
