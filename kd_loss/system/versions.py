"""The versions of this package and of those that affect results."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.2.0"


def package_versions() -> dict[str, str]:
    """Versions of the packages that affect results."""
    names = (
        *("kd-loss", "keras", "tensorflow", "jax", "numpy", "opencv-python", "opencv-python-headless"),
        "scikit-learn",
    )
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "python": platform.python_version()}
