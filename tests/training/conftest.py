import pytest

from kd_loss.training.options import StudentOptions, TeacherOptions
from kd_loss.training.train_teachers import train_teachers


@pytest.fixture(scope="session")
def options(data_folder, tmp_path_factory):
    """A tiny student and its two teachers, of the same input size."""
    common = {
        "dataset": "synthetic", "arch": "tiny", "epochs": 1, "batch_size": 8, "size": 32, "data": data_folder,
        "runs": tmp_path_factory.mktemp("taught"), "head": "pooled",
    }  # fmt: skip
    train_teachers(TeacherOptions(**common))
    return StudentOptions(validation=0.2, **common)
