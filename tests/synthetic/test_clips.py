import numpy as np
import pytest

from kd_loss.synthetic.clips import draw_clip

pytestmark = pytest.mark.quick


def test_a_clip_keeps_its_looks_and_moves():
    """The background stays in every frame, the face does not."""
    frames = draw_clip(64, 0, 3, 5).astype(int)
    corner = frames[:, :6, :6]
    assert np.abs(corner - corner[0]).max() <= 1
    assert np.abs(frames[1:, 24:40, 24:40] - frames[:1, 24:40, 24:40]).mean(axis=(1, 2, 3)).min() > 2
    assert (draw_clip(64, 0, 3, 5) == frames).all()
