"""Faces without landmarks, beside annotated ones: batches with both and their mixtures."""

from __future__ import annotations

import keras
import numpy as np

from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.sampler import cycled
from kd_loss.schemes.known_yaw import whole_rows


class MixedLoader(keras.utils.PyDataset):
    """Batches of B annotated faces, B unlabelled ones and optionally B mixtures of the two.

    A mixture is `λ · annotated + (1 − λ) · unlabelled`, in pixels, landmarks and teachers' answers, with
    λ ~ Beta(alpha, alpha) and λ ≥ ½, so that the annotated face prevails (mix-up; Zhang et al., ICLR 2018;
    the folding to λ ≥ ½ as in MixMatch, Berthelot et al., NeurIPS 2019). `kind` is 0, 1 and 2.

    Args:
        annotated: gives the length of an epoch; unlabelled: runs through its faces in its own order, whose
            landmarks are the teachers' predictions.
        alpha: parameter of the distribution of λ; 0 disables mixtures.
    """

    def __init__(self, annotated: FaceLoader, unlabelled: FaceLoader, alpha: float, seed: int):
        super().__init__(workers=annotated.workers, use_multiprocessing=False, max_queue_size=8)
        self.annotated, self.unlabelled, self.alpha, self.seed = annotated, unlabelled, alpha, seed

    @property
    def epoch(self) -> int:
        """The number of the current epoch, set before each."""
        return self.annotated.epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self.annotated.epoch = self.unlabelled.epoch = value

    def __len__(self) -> int:
        return len(self.annotated)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        images, targets = self.annotated[batch]
        first, step = self.annotated.shard
        more, predicted = self.unlabelled.rows(self._unlabelled_rows(batch, step * len(images))[first::step])
        pictures, kinds = [images, more], [0, 1]
        points = {name: [targets[name], predicted[name]] for name in targets}
        if self.alpha:
            rng = np.random.default_rng((self.seed, self.epoch, batch, 1))
            share = rng.beta(self.alpha, self.alpha, step * len(images)).astype(np.float32)[first::step]
            share = np.maximum(share, 1 - share)
            pictures.append(np.rint(_blend(images, more, share)).astype(np.uint8))
            kinds.append(2)
            for name, (annotated, unlabelled) in points.items():
                mixture = _blend(annotated, unlabelled, share)
                # a yaw alone has no mixture with a rotation; other values have one number or whole points
                points[name] = [annotated, unlabelled, whole_rows(mixture) if mixture.ndim == 3 else mixture]
        kind = np.repeat(np.array(kinds, np.float32), len(images))
        return np.concatenate(pictures), {**{n: np.concatenate(v) for n, v in points.items()}, "kind": kind}

    def _unlabelled_rows(self, batch: int, count: int) -> np.ndarray:
        """Return the faces of one batch, from an endless sequence of passes, each in a new order."""
        return cycled(self.unlabelled.sampler.indices, (self.epoch * len(self) + batch) * count, count, self.seed, 2)


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share · first + (1 − share) · second`, row by row, in float32."""
    weight = share.reshape(-1, *[1] * (first.ndim - 1))
    return weight * first.astype(np.float32) + (1 - weight) * second.astype(np.float32)
