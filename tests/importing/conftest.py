import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from kd_loss.synthetic.faces import draw_face
from tests.importing.old_files import SIZE

SCRIPT = Path(__file__).parent / "keras2_files.py"


@pytest.fixture(scope="session")
def pictures():
    """Various pictures (16, SIZE, SIZE, 3), 0…255: drawn faces, smooth random colours, black, white."""
    rng = np.random.default_rng(1)
    fields = [rng.integers(0, 256, (cells, cells, 3)).astype(np.float32) for cells in (1, 1, 2, 2, 3, 4, 6, 9)]
    colours = [cv2.resize(field, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for field in fields]
    plain = [np.full((SIZE, SIZE, 3), value) for value in (0, 255)]
    return np.stack([*(draw_face(SIZE, 1, i) for i in range(6)), *colours, *plain]).astype(np.float32)


@pytest.fixture(scope="session")
def old(tmp_path_factory, pictures):
    """A folder of files that Keras 2 wrote, see `keras2_files.py`."""
    folder = tmp_path_factory.mktemp("old")
    np.save(folder / "pictures.npy", pictures)
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind in ("h5", "npy"):
        shutil.copy(folder / f"student_weights.{kind}", folder / f"renamed.{kind}")
    with h5py.File(folder / "renamed.h5", "r+") as file:
        names = list(file.attrs["layer_names"])
        for number, name in enumerate(names):
            file.move(name, f"layer_{number}")
        file.attrs["layer_names"] = [f"layer_{number}" for number in range(len(names))]
    return folder
