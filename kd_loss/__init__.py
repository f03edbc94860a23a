"""Landmark networks for faces, distilled from several teachers (KD-Loss and its relatives)."""

import os

# a picture of hostile size is refused before its pixels are allocated; OpenCV reads this when it is imported
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

__version__ = "0.1.0"
