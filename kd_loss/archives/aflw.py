"""AFLW (Köstinger et al., 2011) as tables: `landmarks.csv` with one row per face; rows name the image files.

A row holds the image's path, then x and y of the 21 points in pixels counted from 0; two empty cells mark a point
that is not annotated. An optional `yaw.csv` beside it (path, degrees) splits the faces into subsets by yaw for the
report; without it all faces form one subset. Images whose number is a multiple of ten (`images/image04420.jpg`) are
for testing, in every use of the archive, so that no training sees them; names without a number are split by chance.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from kd_loss.archives.folder import read_folder
from kd_loss.archives.sample import Archive, existing_folder
from kd_loss.imaging.pictures import MOST_OF_TABLE, BadSample, read_text
from kd_loss.imaging.rotations import to_matrices
from kd_loss.schemes.benchmarks import AFLW21, W300
from kd_loss.schemes.full_head import fit_head
from kd_loss.schemes.generic_head import place_of
from kd_loss.schemes.pose import PoseScheme
from kd_loss.system.errors import UserError

#: the furthest yaw of a pose in degrees
_FURTHEST = 98.0
#: degrees of yaw to either side at which a subset ends
_BOUNDS = (30, 60, 90)
SUBSETS = ("yaw 0–30", "yaw 30–60", "yaw 60–90")


def read_yaws(path: Path) -> dict[str, float]:
    """Return the yaw of each face in degrees by image path; raise `UserError` for any other table."""
    try:
        rows = list(csv.reader(read_text(path, MOST_OF_TABLE).splitlines()))
        yaws = {row[0]: float(row[1]) for row in rows if row}
    except BadSample as error:
        raise UserError(f"{path} {error}") from None
    except (csv.Error, ValueError, IndexError):
        raise UserError(f"{path} is not a table of images and degrees") from None
    lost = next((name for name, yaw in yaws.items() if not math.isfinite(yaw)), None)
    if lost is not None:
        raise UserError(f"{path}: the yaw of {lost} is not a finite number")
    return yaws


def _split(path: str, drawn: str) -> str:
    """The split of an image by the number that its name ends with; as drawn if there is none."""
    number = re.search(r"(\d+)$", PurePosixPath(path).stem)
    return drawn if number is None else "train" if int(number[1]) % 10 else "test"


def read_aflw(source: Path, test_fraction: float = 0.1) -> Archive:
    """Parse a folder of AFLW as tables (see the module's text).

    Raises:
        UserError: no `landmarks.csv`, or one that is no table.
    """
    root = existing_folder(source)
    if not (root / "landmarks.csv").is_file():
        raise UserError(
            f"no landmarks.csv in {root}: expected one row per face, the image's path and x, y of the 21 points"
        )
    archive = read_folder(root / "landmarks.csv", AFLW21, test_fraction)
    archive.samples = [
        replace(
            sample,
            split=_split(sample.group, sample.split),
            # what could not be seen was not annotated
            visibility=np.isfinite(sample.landmarks[:, 0]).astype(np.float32),
        )
        for sample in archive.samples
    ]
    table = root / "yaw.csv"
    if not table.exists():
        archive.warnings.append(f"{table} is missing: no rows by yaw")
        return archive
    yaws = read_yaws(table)
    samples = []
    for sample in archive.samples:
        yaw = yaws.get(sample.group)
        if yaw is None:
            archive.problems.append(f"{table}: no yaw of {sample.group}")
            continue
        place = min(int(np.searchsorted(_BOUNDS, abs(yaw), side="right")), len(SUBSETS) - 1)
        samples.append(replace(sample, subset=SUBSETS[place], attributes={"yaw": np.array(yaw, np.float32)}))
    archive.samples = samples
    return archive


def read_aflw_poses(source: Path, scheme: PoseScheme, test_fraction: float) -> Archive:
    """Read head poses up to full profile: AFLW's own yaw, with pitch and roll of the head that fits its points.

    `yaw.csv` counts yaw to the image's left, poses count it to the right. Pitch and roll are rough: the head is
    fitted in steps of 15 degrees of pitch. Faces turned by more than 98 degrees are left out with a warning.

    Raises:
        UserError: no `landmarks.csv` or no `yaw.csv`.
    """
    faces = read_aflw(source, test_fraction)
    archive = Archive(scheme, [], [], [*faces.problems])
    for sample in faces.samples:
        if "yaw" not in sample.attributes:
            raise UserError(f"no yaw.csv in {source}: a row an image, its path and degrees")
        yaw = -float(sample.attributes["yaw"])
        if abs(yaw) > _FURTHEST:
            continue
        view = fit_head(sample.landmarks)
        tilt = to_matrices([-np.radians(view.pitch), 0.0, 0.0])
        turn = to_matrices([0.0, 0.0, np.radians(view.roll)]) @ tilt @ to_matrices([0.0, -np.radians(yaw), 0.0])
        place = place_of(view.points, W300, turn)
        if place is None:
            archive.problems.append(f"{sample.name}: no head of this yaw fits its points")
            continue
        place = replace(place, known_yaw=(yaw, view.roll))
        box = np.stack([view.points.min(axis=0), view.points.max(axis=0)])
        archive.samples.append(
            replace(sample, landmarks=box, place=place, subset=sample.split, attributes={}, visibility=None)
        )
    if len(archive.samples) < len(faces.samples):
        archive.warnings.append(f"{len(faces.samples) - len(archive.samples)} faces are turned away; left out")
    return archive
