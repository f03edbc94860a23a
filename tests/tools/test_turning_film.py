import dataclasses

import numpy as np
import pytest

from kd_loss.datasets.turned import turn_head
from kd_loss.synthetic.faces import draw_face, face_landmarks
from tools.turning_film import angles, follow

pytestmark = pytest.mark.quick


@dataclasses.dataclass
class Found:
    landmarks: np.ndarray
    number: int = 1


def test_a_frontal_head_turns_to_both_sides_and_a_profile_towards_the_front():
    assert angles(0.0, 2.0).tolist() == [0, 0, 0, -1, -2, -1, 0, 1, 2, 1, 0]
    assert angles(80.0, 2.0).tolist() == [0, 0, 0, -1, -2, -1, 0]
    assert angles(-80.0, 2.0).tolist() == [0, 0, 0, 1, 2, 1, 0]


def test_a_tracker_that_misses_frames_jumps_and_begins_anew():
    image, points = draw_face(64, 0, 1), np.asarray(face_landmarks("w300", 64, 0, 1), float)
    side = np.ptp(points, axis=0).max()
    true = [turn_head(image, points, turn)[1] for turn in (0.0, 1.0, 2.0, 3.0)]
    answers = iter([
        [Found(true[0])],
        [],  # lost
        [Found(true[2] + [side / 100, 0]), Found(true[2] + side)],  # the second is another face
        [Found(true[3], 2)],
    ])  # fmt: skip
    clip = follow(lambda frame: next(answers), image, points, np.arange(4.0))
    assert (clip.frames, clip.lost, clip.tracks) == (4, 1, 2)
    assert clip.errors == pytest.approx([0, 1, 0])
    assert clip.jitter == pytest.approx([1])
    assert clip.jumps == pytest.approx([1])
