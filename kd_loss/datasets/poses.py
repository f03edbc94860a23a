"""Faces with head poses: exact ones of drawn faces, those that annotated points tell, and archives of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kd_loss.datasets.sample import Archive
from kd_loss.datasets.synthetic import draw_archive, drawing_side, face_place
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.errors import UserError

if TYPE_CHECKING:
    from kd_loss.datasets.command import PrepareOptions


def draw_poses(scheme: PoseScheme, count: int, size: int, margin: float, seed: int) -> Archive:
    """Drawn faces of the 68 points, as `synthetic` has them, with their exact poses."""
    drawn, side = draw_archive("synthetic", count, size, margin, seed), drawing_side(size, margin)
    samples = []
    for index, sample in enumerate(drawn.samples):
        samples.append(replace(sample, place=face_place(side, seed, index)))
    return Archive(scheme, samples)


def read_poses(
    scheme: PoseScheme, options: PrepareOptions, read_landmarks: Callable[[PrepareOptions], Archive]
) -> Archive:
    """The archive of a pose dataset; `read_landmarks` reads that of the scheme that places its crops."""
    from kd_loss.datasets import pose_archives

    if scheme.name == "pose_synthetic":
        return draw_poses(scheme, options.count, options.size, options.margin, options.seed)
    if not options.source:
        raise UserError(f"give the folder of the faces: kd-loss prepare --dataset {scheme.name} --source FOLDER")
    source = Path(options.source)
    readers = {
        "pose_biwi": pose_archives.read_biwi,
        "pose_300wlp": pose_archives.read_300wlp,
        "pose_aflw2000": pose_archives.read_300wlp,
        "pose_pointing04": pose_archives.read_pointing04,
    }
    if scheme.name in readers:
        return readers[scheme.name](source, scheme, options.test_fraction)
    landmarks = read_landmarks(replace(options, dataset=scheme.points, also=[]))
    return Archive(scheme, landmarks.samples, landmarks.warnings, landmarks.problems)
