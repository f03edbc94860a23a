"""Finds the rows of a report with a benchmark's complete faces: only these are compared with published figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kd_loss.datasets.prepared import PreparedSplit


@dataclass(frozen=True)
class OfficialRow:
    """A row of a report whose faces are of an official subset: `found` of its `faces`.

    `complete` if each subset that the row joins has as many faces as in the official release.
    """

    row: str
    found: int
    faces: int
    complete: bool

    @property
    def label(self) -> str:
        """The row's name with its count.

        >>> OfficialRow("common", 554, 554, True).label, OfficialRow("full", 554, 689, False).label
        ('common (official, 554 of 554)', 'full (554 of 689)')
        """
        return f"{self.row} ({'official, ' if self.complete else ''}{self.found} of {self.faces})"


def official_rows(split: PreparedSplit) -> dict[str, OfficialRow]:
    """Report row -> coverage of its official subset; rows of no official subset are omitted.

    Faces are counted by subset (300W's `helen/testset` has 330), those of an attribute by the row itself (WFLW's
    `pose` has 326).
    """
    scheme, found = split.scheme, {}
    counts = Counter(split.subset.tolist())
    for row, indices in split.rows().items():
        subsets = scheme.test_subsets.get(row, ())
        wanted = [scheme.official.get(subset, 0) for subset in subsets] if subsets else [scheme.official.get(row, 0)]
        present = [counts[subset] for subset in subsets] if subsets else [len(indices)]
        if not all(wanted) or not len(indices) or sum(present) != len(indices):
            continue  # not of a benchmark, empty, or mixed with other faces
        found[row] = OfficialRow(row, len(indices), sum(wanted), present == wanted)
    return found


def labels_of(split: PreparedSplit) -> dict[str, str]:
    """Report row -> its name, with its count if it is of an official subset."""
    official = official_rows(split)
    return {row: official[row].label if row in official else row for row in split.rows()}


def complete_rows(split: PreparedSplit) -> list[str]:
    """Return the rows whose official subset is complete."""
    return [row for row, official in official_rows(split).items() if official.complete]
