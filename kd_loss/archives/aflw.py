"""AFLW (Köstinger et al., 2011) as tables: `landmarks.csv` with one row per face; rows name the picture files.

A row holds the picture's path, then x and y of the 21 points in pixels counted from 0; two empty cells mark a point
that is not annotated. An optional `yaw.csv` beside it (path, degrees) splits the faces into subsets by yaw for the
report; without it all faces form one subset. Faces of one photograph stay in one split.
"""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from kd_loss.archives.folder import read_folder
from kd_loss.archives.sample import Archive, existing_folder
from kd_loss.schemes.benchmarks import AFLW21
from kd_loss.system.errors import UserError

#: degrees of yaw to either side at which a subset ends
_BOUNDS = (30, 60, 90)
SUBSETS = ("yaw 0–30", "yaw 30–60", "yaw 60–90")


def read_yaws(path: Path) -> dict[str, float]:
    """Return the yaw of each face in degrees by picture path; raise `UserError` for any other table."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
        yaws = {row[0]: float(row[1]) for row in rows if row}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError):
        raise UserError(f"{path} is not a table of pictures and degrees") from None
    lost = next((name for name, yaw in yaws.items() if not math.isfinite(yaw)), None)
    if lost is not None:
        raise UserError(f"{path}: the yaw of {lost} is not a finite number")
    return yaws


def read_aflw(source: Path, test_fraction: float = 0.1) -> Archive:
    """Parse a folder of AFLW as tables (see the module's text).

    Raises:
        UserError: no `landmarks.csv`, or one that is no table.
    """
    root = existing_folder(source)
    if not (root / "landmarks.csv").is_file():
        raise UserError(
            f"no landmarks.csv in {root}: expected one row per face, the picture's path and x, y of the 21 points"
        )
    archive = read_folder(root / "landmarks.csv", AFLW21, test_fraction)
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
