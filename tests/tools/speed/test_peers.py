"""Other detectors on the same photographs."""

import sys

import numpy as np
import pytest

from kd_loss.system.errors import UserError
from tools.speed.peers import PeerOptions, ask_peer, measure_peer, own_frames, parse_peer, run_peers, same_face

PEER = """
import sys, numpy as np
names = open(sys.argv[1]).read().splitlines()
truth = dict(np.load({truth!r}, allow_pickle=True).item())
points = np.array([truth[name.rpartition("/")[2]][[0, 16, 8, 27, 36, 45, 30, 48, 54, 57]] * {factor} for name in names])
points[{lost}] = np.nan
np.savez(sys.argv[2], landmarks=points, milliseconds=np.arange(len(names)) + 1.0)
"""


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


def test_another_persons_face_does_not_count():
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


def test_peers_need_the_photographs():
    with pytest.raises(UserError, match="give --peer NAME=PYTHON and --source"):
        run_peers(PeerOptions(weights=["x.tflite"]))
