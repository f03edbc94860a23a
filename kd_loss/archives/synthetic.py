"""Drawn faces as an archive."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from kd_loss.archives.sample import Archive, Sample
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
from kd_loss.schemes.pose import PoseScheme
from kd_loss.synthetic.faces import draw_face, drawing_side, face_landmarks, face_place
from kd_loss.system.errors import UserError


def draw_archive(name: str, count: int, size: int, margin: float, seed: int) -> Archive:
    """`count` training faces and a quarter as many test faces, drawn so that crops are about `size` px."""
    if count < 4:
        raise UserError(f"--count {count} is less than 4")
    scheme = LANDMARK_SCHEMES[name]
    drawing = name.partition("_")[2] or "w300"
    canvas = drawing_side(size, margin)
    archive = Archive(scheme)
    for index in range(count + max(1, count // 4)):
        split = "train" if index < count else "test"
        archive.samples.append(
            Sample(
                name=f"{seed}/{index}",
                landmarks=face_landmarks(drawing, canvas, seed, index),
                split=split,
                subset=split,
                group=f"{seed}/{index}",
                load=partial(draw_face, canvas, seed, index),
            )
        )
    return archive


def draw_poses(scheme: PoseScheme, count: int, size: int, margin: float, seed: int) -> Archive:
    """Drawn faces of the 68 points, as `synthetic` has them, with their exact poses."""
    drawn, side = draw_archive("synthetic", count, size, margin, seed), drawing_side(size, margin)
    samples = []
    for index, sample in enumerate(drawn.samples):
        samples.append(replace(sample, place=face_place(side, seed, index)))
    return Archive(scheme, samples)
