"""The 300W archive: folders `afw`, `helen`, `lfpw`, `ibug` of images with a `.pts` file each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kd_loss.archives.pts import read_pts
from kd_loss.archives.sample import Archive, Sample, existing_folder, missing_parts, pair_files, photograph
from kd_loss.imaging.pictures import BadSample, read_image
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.full_head import assumed_visible

TRAIN_PARTS = ("afw", "helen/trainset", "lfpw/trainset")
TEST_PARTS = ("helen/testset", "lfpw/testset", "ibug")


def read_w300(source: Path) -> Archive:
    """Parse a 300W folder; parts that are missing are named in one warning with their counts."""
    root = existing_folder(source)
    archive = Archive(W300)
    counts: dict[str, int] = {}
    for part in TRAIN_PARTS + TEST_PARTS:
        folder = root / part
        if not folder.is_dir():
            continue
        pairs, problems = pair_files(folder, ".pts")
        archive.problems += problems
        for image, pts in pairs:
            try:
                landmarks = read_pts(pts, W300.points)
            except BadSample as error:
                archive.problems.append(f"{pts}: {error}")
                continue
            archive.samples.append(
                Sample(
                    name=image.relative_to(root).as_posix(),
                    landmarks=landmarks,
                    split="train" if part in TRAIN_PARTS else "test",
                    subset=part,
                    group=f"{part.split('/')[0]}/{photograph(image.stem)}",
                    load=partial(read_image, image),
                    visibility=assumed_visible(landmarks),
                )
            )
            counts[part] = counts.get(part, 0) + 1
    archive.require_samples(root, f"the folders {', '.join(TRAIN_PARTS + TEST_PARTS)}")
    archive.warnings += missing_parts(counts, W300.official)
    return archive
