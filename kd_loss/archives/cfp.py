"""CFP, Celebrities in Frontal-Profile (Sengupta et al., 2016): `landmarks.csv`, images `images/PPP/frontal/NN.jpg`.

A row holds the image's path, then x and y of the 30 points of the visible half of the face. The folder after
`images` is the person: all images of one person stay in one split. Frontal and profile are the subsets.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from kd_loss.archives.folder import read_folder
from kd_loss.archives.sample import Archive, assign_splits, existing_folder
from kd_loss.schemes.benchmarks import CFP30


def _person(path: str) -> str:
    """The person of an image's path; the path itself in another layout."""
    parts = PurePosixPath(path).parts
    return parts[parts.index("images") + 1] if "images" in parts[:-2] else path


def read_cfp(source: Path, test_fraction: float = 0.1) -> Archive:
    """Parse a folder of CFP (see the module's text), or the 30 points in any layout of `datasets.folder`.

    Raises:
        UserError: there is no annotated face, or the table is malformed.
    """
    table = source / "landmarks.csv"
    if not table.is_file() or not (source / "images").is_dir():
        return read_folder(source, CFP30, test_fraction)
    archive = read_folder(existing_folder(source) / "landmarks.csv", CFP30, test_fraction)
    persons = [_person(sample.group) for sample in archive.samples]
    splits = assign_splits(persons, test_fraction)
    for index, (sample, person) in enumerate(zip(archive.samples, persons, strict=True)):
        kind = next((kind for kind in ("frontal", "profile") if kind in PurePosixPath(sample.group).parts), "other")
        archive.samples[index] = replace(sample, group=person, split=splits[person], subset=kind)
    return archive
