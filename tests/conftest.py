"""What several tests share: a tiny prepared dataset of drawn faces, and the real faces where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: their threads would only wait for one another
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import hypothesis
import pytest

import tests.tiny  # noqa: F401 (the architecture `tiny`)
from kd_loss.archives.synthetic import draw_archive
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import PreparedDataset, open_dataset

# a busy machine takes longer over an example than hypothesis allows
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the prepared dataset `synthetic`: 40 training and 10 test faces of 48 px."""
    data = tmp_path_factory.mktemp("data")
    prepare(draw_archive("synthetic", 40, 48, 0.15, 0), data / "synthetic", size=48)
    return data


@pytest.fixture(scope="session")
def synthetic(data_folder: Path) -> PreparedDataset:
    """That dataset, open."""
    return open_dataset("synthetic", data_folder)


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real faces, named by KD_LOSS_DATA or beside the checkout; skips where it is absent."""
    folder = Path(os.environ.get("KD_LOSS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "300W").is_dir():
        pytest.skip(f"no real faces in {folder}: set KD_LOSS_DATA to a folder with 300W, WFLW and COFW")
    return folder
