"""Networks of PyTorch as files: TorchScript and torch.export."""

import json

import numpy as np
import pytest

from kd_loss.runtimes import files
from kd_loss.system.errors import UserError
from kd_loss.training.teachers.foreign import in_other_runtime, open_teacher

torch = pytest.importorskip("torch")
CROPS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)


class Corner(torch.nn.Module):
    """Two landmarks from the first pixel: (red, green) and (blue, red), of 0…1."""

    def forward(self, images):
        first = images[:, :, 0, 0] / 255
        return torch.cat([first, first[:, :1]], dim=1)


def save(path, batch=1):
    example = torch.zeros(batch, 3, 16, 16)
    if path.suffix == ".pt":
        torch.jit.trace(Corner(), example).save(str(path))
    else:
        torch.export.save(torch.export.export(Corner(), (example,)), str(path))
    path.with_suffix(".json").write_text(json.dumps({"points": 2, "size": 16, "unit": "unit"}))
    return path


@pytest.mark.parametrize("name", ["mine.pt", "mine.pt2"])
def test_a_teacher(tmp_path, name):
    path = save(tmp_path / name, batch=2)  # three faces: two, and one more with an empty place
    assert in_other_runtime(str(path))
    landmarks = open_teacher(str(path))(CROPS)["landmarks"]
    corner = CROPS[:, 0, 0] / 255 - 0.5
    np.testing.assert_allclose(landmarks, np.stack([corner[:, :2], corner[:, [2, 0]]], axis=1), atol=1e-6)


def test_a_file_that_is_not_torchscript_is_one_line(tmp_path):
    path = tmp_path / "pickle.pt"
    torch.save({"a": torch.zeros(2)}, path)
    path.with_suffix(".json").write_text(json.dumps({"points": 2, "size": 16}))
    with pytest.raises(UserError, match=r"pickle\.pt does not load: ") as raised:
        open_teacher(str(path))
    assert "\n" not in str(raised.value)


def test_pictures_that_do_not_fit_are_one_line(tmp_path):
    linear = torch.jit.trace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4)), torch.zeros(1, 3, 4, 4))
    path = tmp_path / "small.pt"
    linear.save(str(path))
    path.with_suffix(".json").write_text(json.dumps({"points": 2, "size": 16}))
    with pytest.raises(UserError, match=r"small\.pt: fails on faces: RuntimeError: .*shapes") as raised:
        open_teacher(str(path))(CROPS)
    assert "\n" not in str(raised.value)


def test_without_pytorch(tmp_path, monkeypatch):
    path = save(tmp_path / "mine.pt")
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"mine\.pt needs the package torch: pip install torch"):
        open_teacher(str(path))
