"""One picture moved by a clip."""

import numpy as np
import pytest
from keras import ops
from PIL import Image

from kd_loss.keypoints.animate import FRAMES, AnimationOptions, moved, run_animate_keypoints
from kd_loss.keypoints.motion import Animator
from kd_loss.keypoints.trainer import save_weights
from kd_loss.networks.keypoint_detector import KeypointCard, build_detector, save_detector
from kd_loss.system.errors import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_detector(build_detector(KeypointCard("tiny", 1.0, 3, 64)), folder / "best.h5")
    save_weights(Animator(64, 3), folder / "animator.weights.h5")
    return folder / "best.h5"


def test_a_clip_that_stands_still_leaves_the_source_where_it_is():
    rng = np.random.default_rng(0)
    source, frame = rng.normal(0, 0.3, (2, 4, 2)).astype(np.float32)
    slopes = (np.eye(2) + rng.normal(0, 0.1, (2, 4, 2, 2))).astype(np.float32)
    found = {
        "keypoints": np.stack([source, frame, frame + [0.1, -0.2]]),
        "jacobians": np.stack([slopes[0], slopes[1], 2 * slopes[1]]),
    }
    observed = {name: ops.convert_to_numpy(value) for name, value in moved(found).items()}
    assert observed["keypoints"][0] == pytest.approx(source, abs=1e-6)
    assert observed["keypoints"][1] == pytest.approx(source + [0.1, -0.2], abs=1e-6)
    assert observed["jacobians"][0] == pytest.approx(slopes[0], abs=1e-5)
    assert observed["jacobians"][1] == pytest.approx(2 * slopes[0], abs=1e-5)


def test_a_gif_of_drawn_faces(weights, tmp_path):
    path = run_animate_keypoints(AnimationOptions(weights=str(weights), output=str(tmp_path / "a.gif")))
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size) == (FRAMES, (4 * 3 * 64, 3 * 64))


def test_bad_input_is_one_line(weights, tmp_path):
    for options, said in (
        (AnimationOptions(), "give the weights"),
        (AnimationOptions(weights="x", output="a.mp4"), "--output a.mp4 does not end in .gif"),
    ):
        with pytest.raises(UserError, match=said):
            options.check()
    with pytest.raises(UserError, match="at least two frames of a clip"):
        run_animate_keypoints(AnimationOptions(weights=str(weights), driving=str(tmp_path)))
    other = weights.with_name("other.h5")
    save_detector(build_detector(KeypointCard("tiny", 1.0, 5, 64)), other)
    with pytest.raises(UserError, match="is not an animator of this detector"):
        run_animate_keypoints(AnimationOptions(weights=str(other)))
    (tmp_path / "alone.h5").write_bytes(weights.read_bytes())
    (tmp_path / "alone.json").write_bytes(weights.with_suffix(".json").read_bytes())
    with pytest.raises(UserError, match="no such weights: .*animator.weights.h5"):
        run_animate_keypoints(AnimationOptions(weights=str(tmp_path / "alone.h5")))
