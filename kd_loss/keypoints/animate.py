"""The command `animate-keypoints`: moves one image by the keypoints of a clip of another."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from keras import ops
from PIL import Image

from kd_loss.keypoints.clips import PICTURES, frame_order, read_picture, square
from kd_loss.keypoints.losses import inverse
from kd_loss.keypoints.motion import Animator
from kd_loss.keypoints.sheet import marked
from kd_loss.networks.keypoint_detector import KeypointDetector, load_detector
from kd_loss.synthetic.clips import draw_clip
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError, first_line
from kd_loss.system.files import atomic_file
from kd_loss.system.hdf5 import check_tree, open_hdf5

#: seed of the drawn faces, which no training has seen; numbers of the moved face, the driving face and its frames
SEED, SOURCE, DRIVING, FRAMES = 1, 10, 2, 16


@dataclass(frozen=True)
class AnimationOptions(Options):
    """Move the face of one image as that of a clip moves, using a detector and the animator trained with it."""

    weights: str = option(
        "", "detector (.h5) of train-keypoints, with its animator.weights.h5 beside it", positional=True
    )
    source: str = option("synthetic", "image to animate; synthetic: a drawn face")
    driving: str = option("synthetic", "folder with the frames of one clip; synthetic: another drawn face")
    output: str = option("animation.gif", "the .gif: source, clip with keypoints, moved, moved without Jacobians")

    def check(self) -> None:
        """Raises a `UserError` for a missing detector or another format."""
        if not self.weights:
            raise UserError("give the weights of a detector: kd-loss animate-keypoints runs/keypoints/detector/best.h5")
        if not self.output.endswith(".gif"):
            raise UserError(f"--output {self.output} does not end in .gif")


def load_animator(path: Path, detector: KeypointDetector) -> Animator:
    """The animator of a run; raises a `UserError` if it is missing, or of another size or number of keypoints."""
    if not path.is_file():
        raise UserError(f"no such weights: {path}; train-keypoints writes them next to its detector")
    animator = Animator(detector.card.size, detector.card.points)
    try:
        with open_hdf5(path) as file:
            check_tree(path, file, 1 << 28)
        animator.load_weights(path)
    except UserError:
        raise
    except Exception as error:  # damaged HDF5 files raise many types
        reason = first_line(error)
        raise UserError(f"{path} is not an animator of this detector: {reason}") from None
    return animator


def moved(found: dict[str, Any]) -> dict[str, Any]:
    """Keypoints and Jacobians for each frame of a clip, from those of the source image (the first row) and the clip.

    Relative to the clip's first frame: kp_S + kp_t − kp_0 and J_t J_0⁻¹ J_S, so that the source keeps its own shape.
    """
    keypoints, jacobians = (ops.convert_to_tensor(found[name]) for name in ("keypoints", "jacobians"))
    turned = ops.matmul(ops.matmul(jacobians[1:], inverse(jacobians[1:2])), jacobians[:1])
    return {"keypoints": keypoints[:1] + keypoints[1:] - keypoints[1:2], "jacobians": turned}


def run_animate_keypoints(options: AnimationOptions) -> Path:
    """Write the `.gif` and return its path."""
    detector = load_detector(Path(options.weights))
    animator = load_animator(Path(options.weights).with_name("animator.weights.h5"), detector)
    size, crop = detector.card.size, detector.card.crop
    source = _source(options.source, size, crop)
    clip = _clip(options.driving, size, crop)
    found = detector.model(np.concatenate([source[None], clip]).astype(np.float32), training=False)
    wanted = moved(found)
    count = len(clip)
    inputs = {
        "image": ops.convert_to_tensor(np.repeat(source[None] / np.float32(255), count, axis=0)),
        "source": {name: ops.repeat(ops.convert_to_tensor(found[name])[:1], count, axis=0) for name in wanted},
        "driving": wanted,
    }
    pictures = [
        np.clip(255 * ops.convert_to_numpy(animator(inputs, with_jacobians=slopes)["picture"]), 0, 255).astype(np.uint8)
        for slopes in (True, False)
    ]
    points = ops.convert_to_numpy(found["keypoints"])
    rows = []
    for frame in range(count):
        large = [cv2.resize(p[frame], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC) for p in pictures]
        rows.append(np.hstack([marked(source, points[0]), marked(clip[frame], points[frame + 1]), *large]))
    path = Path(options.output)
    write_gif(path, rows)
    print(f"{path}: {count} frames; source, clip, moved by keypoints and Jacobians, by keypoints alone")
    return path


def write_gif(path: Path, frames: list[np.ndarray]) -> None:
    """Save images (H, W, 3) uint8 as a looping animation, ten per second."""
    images = [Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE) for frame in frames]
    data = io.BytesIO()
    images[0].save(data, "GIF", save_all=True, append_images=images[1:], duration=100, loop=0)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.getvalue())


def _source(name: str, size: int, crop: float) -> np.ndarray:
    if name == "synthetic" and not Path(name).exists():
        return draw_clip(size, SEED, SOURCE, 2)[0]
    return square(read_picture(Path(name)), size, crop)


def _clip(name: str, size: int, crop: float) -> np.ndarray:
    if name == "synthetic" and not Path(name).exists():
        return draw_clip(size, SEED, DRIVING, FRAMES)
    paths = sorted((p for p in Path(name).glob("*") if p.suffix.lower() in PICTURES), key=frame_order)
    if len(paths) < 2:
        raise UserError(f"--driving {name}: a folder with at least two frames of a clip")
    return np.stack([square(read_picture(path), size, crop) for path in paths])
