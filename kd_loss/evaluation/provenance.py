"""Checks whether a network may be tested on these faces, by its training data and later changes to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit
from kd_loss.datasets.seen_faces import read_prints, seen_before
from kd_loss.networks.card import Card
from kd_loss.runs.folder import data_record
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import counted


def check_provenance(card: Card, weights: Path, dataset: PreparedDataset, split: PreparedSplit) -> list[str]:
    """Return notes to report with a network's metrics: that its data differ from those it was trained on.

    Raises:
        UserError: the dataset has been prepared again since, and training faces have become test faces.
    """
    own, now = card.dataset == dataset.folder.name, data_record(dataset)
    changed = [key for key, value in now.items() if card.training.get(key) != value]
    if own and not changed:
        return []
    notes = []
    if own and any(key in card.training for key in changed):
        notes.append(f"{weights} was trained on another preparation of {card.dataset}: other faces, options or version")
    trained_on = read_prints(weights) if split.folder.name == "test" else None
    seen = np.arange(0) if trained_on is None else seen_before(trained_on, split)
    if len(seen):
        line = (
            f"{weights} was trained on {len(seen)} of the {counted(len(split), 'test face')} of {dataset.folder} "
            f"(first: {split.name[seen[0]]})"
        )
        if own:
            raise UserError(f"{line}; train it again, or prepare the dataset with the split that it was trained on")
        notes.append(line)
    return notes
