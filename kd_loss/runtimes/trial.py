"""A network of another runtime (ONNX Runtime, LiteRT, OpenCV), opened and run in a process of its own first."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from kd_loss import trial
from kd_loss.shipped import came_along


def check_trial(path: Path, kind: str = "network") -> None:
    """See `kd_loss.trial.check_trial`; files that came with this package are not tried.

    Args:
        kind: `network`, or `yunet` for a model of OpenCV's face detector.
    """
    if not (path.is_file() and came_along(path)):
        trial.check_trial(path, __name__, kind)


def _try(kind: str, path: Path) -> None:
    """Open and run a file; whatever is raised is the answer."""
    import numpy as np

    if kind == "yunet":
        import cv2

        trial.limit_memory()
        try:
            cv2.FaceDetectorYN.create(str(path), "", (320, 320)).detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:  # that it is another network, or none, is said where it is used
            if trial.out_of_memory(error):
                raise
        return
    from kd_loss.runtimes.files import open_untried

    with contextlib.suppress(ImportError):  # before the limit: a library is no part of the file
        import onnxruntime  # noqa: F401
    trial.limit_memory()
    run, shape = open_untried(path, 1)
    shape = [1, *(side if isinstance(side, int) and side > 0 else 64 for side in shape[1:])]
    for batch in (np.zeros(shape, np.float32), np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)):
        try:
            run(batch)
        except Exception as error:  # a size that does not fit is found where the right one is known
            if trial.out_of_memory(error):
                raise


if __name__ == "__main__":
    trial.answer(lambda: _try(sys.argv[1], Path(sys.argv[2])))
