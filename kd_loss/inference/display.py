"""Frames in a window."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np

from kd_loss.system.errors import UserError


def check_display() -> None:
    """A `UserError` where no window can be opened; tried in a process of its own, for Qt ends it."""
    code = "import cv2; cv2.namedWindow('kd-loss'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        raise UserError("--show needs a display and opencv-python with windows, not the headless one")


def show(title: str, image: np.ndarray) -> bool:
    """Show a frame; whether the user closed the window."""
    cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return cv2.waitKey(1) & 0xFF in (27, ord("q"))
