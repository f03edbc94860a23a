"""The faces of an epoch and their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kd_loss.datasets.prepared import PreparedSplit
from kd_loss.system.errors import UserError


def cycled(indices: np.ndarray, start: int, count: int, seed: int, stream: int) -> np.ndarray:
    """Return the entries from `start` on of an endless sequence of passes over all indices, each shuffled anew."""
    places = np.arange(start, start + count)
    rows = np.empty(count, indices.dtype)
    for turn in np.unique(places // len(indices)):
        order = np.random.default_rng((seed, int(turn), stream)).permutation(indices)
        here = places // len(indices) == turn
        rows[here] = order[places[here] % len(indices)]
    return rows


class FaceSampler:
    """Faces of a split, in stored order every epoch, or reshuffled for each.

    Args:
        split: the faces; indices: a selection of them, all by default.
        shuffled: shuffle as for training; the order depends on (seed, epoch) only.
        extra_share: share of a shuffled epoch drawn in turn from the faces of other archives; None uses all of
            them in every epoch.

    Raises:
        UserError: there is no face, or a share of other faces is set but the dataset itself has none.
    """

    def __init__(
        self,
        split: PreparedSplit,
        indices: Sequence[int] | np.ndarray | None = None,
        *,
        shuffled: bool = False,
        seed: int = 0,
        extra_share: float | None = None,
    ):
        self.split, self.shuffled, self.seed = split, shuffled, seed
        self.indices = np.arange(len(split)) if indices is None else np.asarray(indices)
        if not len(self.indices):
            raise UserError(f"no faces in {split.folder}")
        extra = np.zeros(len(split), bool) if split.extra is None else np.asarray(split.extra)
        self._own, self._extra = self.indices[~extra[self.indices]], self.indices[extra[self.indices]]
        if extra_share is None or not shuffled or not len(self._extra):
            self._own, self._extra, extra_share = self.indices, self.indices[:0], 0.0
        if not len(self._own):
            raise UserError("every training face is from another archive (--extra-data): a share of them is undefined")
        self._extra_count = round(len(self._own) * extra_share / (1 - extra_share))
        self._drawn: tuple[int, np.ndarray] = (-1, self.indices)

    def __len__(self) -> int:
        """Return the number of faces in an epoch."""
        return len(self._own) + self._extra_count

    def of(self, epoch: int) -> np.ndarray:
        """Return the faces of an epoch, as indices into the split."""
        if not self.shuffled:
            return self.indices
        drawn, order = self._drawn
        if drawn != epoch:  # once an epoch: once a batch would take time quadratic in the faces
            chosen = np.concatenate([self._own, self._turn(epoch)]) if self._extra_count else self._own
            order = np.random.default_rng((self.seed, epoch)).permutation(chosen)
            self._drawn = epoch, order
        return order

    def _turn(self, epoch: int) -> np.ndarray:
        """Return an epoch's faces of other archives, from repeated passes over all of them, each in a new order."""
        return cycled(self._extra, epoch * self._extra_count, self._extra_count, self.seed, 3)
